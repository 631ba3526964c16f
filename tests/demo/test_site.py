"""The folder of a page: what lies in it, what is refused, and where the engine comes from."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import urllib.error
import urllib.request
import webbrowser
import zipfile
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from pair_fld.demo import engine
from pair_fld.demo.server import address, open_server
from pair_fld.errors import PairError
from pair_fld.inference.archive import shipped_archive
from tests.cli.command import pairfld


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of `npm pack` with small files of the engine's names, which count as the right ones."""
    folder, files = tmp_path / "npm", {}
    folder.mkdir()
    for package, members in engine._FILES.items():
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as packed:
            for member in members:
                data = b'import { a } from "@litertjs/wasm-utils";' if member == "dist/index.js" else b"0"
                info = tarfile.TarInfo(f"package/{member}")
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
        digest = base64.b64encode(hashlib.sha512(stream.getvalue()).digest()).decode()
        files[replace(package, sha512=digest)] = members
        (folder / package.file).write_bytes(stream.getvalue())
    monkeypatch.setattr(engine, "_FILES", files)
    return folder


def test_a_site_holds_all_that_a_page_needs(npm: Path, tmp_path: Path) -> None:
    done = pairfld("demo", "--out", str(tmp_path / "site"), "--engine-folder", str(npm))
    assert done.code == 0, done.err
    site = tmp_path / "site"
    with zipfile.ZipFile(shipped_archive()) as packed:  # the archive's own files, byte for byte
        for name in ("model.tflite", "detector.tflite", "LICENSE-detector.txt"):
            assert (site / name).read_bytes() == packed.read(name)
    described = json.loads((site / "archive.json").read_text())
    assert described["model"]["size"] == 96
    assert described["detector"]["kind"] == "blazeface"
    assert (site / "engine" / "litert.js").read_text() == 'import { a } from "./wasm-utils.js";'
    assert {"litert_wasm_internal.wasm", "litert_wasm_compat_internal.wasm", "NOTICE.txt"} <= {
        path.name for path in (site / "engine").iterdir()
    }
    # whatever a module or the page names lies there
    for path in site.glob("*.js"):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "} from ")):
                assert (site / line.split('"')[1]).is_file(), line


def test_a_folder_with_other_files_is_left_alone(npm: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "thesis.txt").write_text("mine")
    done = pairfld("demo", "--out", str(site), "--engine-folder", str(npm), "--overwrite")
    assert done.code == 2
    assert "one with other files in it" in done.err
    assert [path.name for path in site.iterdir()] == ["thesis.txt"]


def test_an_earlier_page_is_replaced_when_asked(npm: Path, tmp_path: Path) -> None:
    call = ("demo", "--out", str(tmp_path / "site"), "--engine-folder", str(npm))
    assert [pairfld(*call).code, pairfld(*call).code, pairfld(*call, "--overwrite").code] == [0, 2, 0]


def test_an_archive_without_tflite_files_is_named(npm: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("model.onnx", b"1")
    done = pairfld("demo", str(tmp_path / "a.zip"), "--out", str(tmp_path / "s"), "--engine-folder", str(npm))
    assert done.code == 2
    assert "an archive with model.tflite" in done.err
    assert not (tmp_path / "s").exists()


def test_a_changed_engine_is_refused(npm: Path, tmp_path: Path) -> None:
    (npm / engine.WASM_UTILS.file).write_bytes(b"changed")
    done = pairfld("demo", "--out", str(tmp_path / "site"), "--engine-folder", str(npm))
    assert done.code == 2
    assert "a file with another hash" in done.err
    assert not (tmp_path / "site").exists()


def test_without_npm_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("PAIRFLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    done = pairfld("demo", "--out", str(tmp_path / "site"))
    assert done.code == 2
    assert "Name or service not known" in done.err
    assert "--engine-folder" in done.err


def test_scripts_are_served_as_scripts(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    with open_server(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with urllib.request.urlopen(f"{address(server)}a.js") as response:
            assert response.headers["Content-Type"].startswith("text/javascript")
        server.shutdown()
        thread.join()


def test_the_page_is_served_until_it_is_interrupted(npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def visit(url: str) -> None:
        opened.append(url)

    def interrupt(server: ThreadingHTTPServer) -> None:
        server.timeout = 5
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urllib.request.urlopen(opened[0]) as response:
            assert b"51 facial landmarks" in response.read()
        thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", visit)
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", interrupt)
    done = pairfld("demo", "--serve", "--engine-folder", str(npm))
    assert done.code == 0, done.err
    assert opened[0].startswith("http://localhost:")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with open_server(tmp_path) as server, pytest.raises(PairError, match=r"--port: \d+ cannot be opened"):
        open_server(tmp_path, server.server_port)
