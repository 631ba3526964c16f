"""A page's folder, with and without the engine, and JavaScript run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pair_fld.demo.engine import find_engine
from pair_fld.demo.server import address, open_server
from pair_fld.demo.site import write_page, write_site
from pair_fld.errors import PairError
from pair_fld.inference.archive import shipped_archive

NODE = shutil.which("node")


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's modules and constants, for node."""
    folder = tmp_path_factory.mktemp("page")
    write_page(folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


class Node:
    """Runs the page's modules outside a browser."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, module: str, body: str, **given: Any) -> Any:
        """What `body` returns: a function's body in which `m` is a module of the page and `x` what is given."""
        script = (
            'import fs from "node:fs";\n'
            f'const m = await import("{(self.folder / module).as_uri()}");\n'
            'const x = JSON.parse(fs.readFileSync(0, "utf8"));\n'
            f"const result = await (async () => {{ {body} }})();\n"
            "process.stdout.write(JSON.stringify(result));\n"
        )
        done = subprocess.run(
            [str(NODE), "--input-type=module", "-e", script], input=json.dumps(given), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def node(page_folder: Path) -> Node:
    if NODE is None:
        pytest.skip("node is not installed")
    return Node(page_folder)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of the shipped archive's page."""
    try:
        find_engine(None, lambda _: None)
    except PairError as error:
        pytest.skip(f"LiteRT for the web cannot be had: {error}")
    folder = tmp_path_factory.mktemp("demo") / "site"
    write_site(shipped_archive(), folder)
    with open_server(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield address(server)
        server.shutdown()
        thread.join()
