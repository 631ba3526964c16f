"""LiteRT for the web: fetched once from npm, checked, and kept; `pairfld demo` puts it into each page's folder."""

from __future__ import annotations

import base64
import hashlib
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pair_fld.annotators.environment import cache_folder
from pair_fld.errors import PairError
from pair_fld.io import atomic_path

_REGISTRY = "https://registry.npmjs.org"
_SECONDS = 60.0


@dataclass(frozen=True)
class NpmPackage:
    """name, version: as npm knows them. sha512: of its file, in base64, as npm's lock files have it."""

    name: str
    version: str
    sha512: str

    @property
    def file(self) -> str:
        """The name that `npm pack` gives it."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def url(self) -> str:
        """Where npm has it."""
        return f"{_REGISTRY}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


LITERT = NpmPackage(
    "@litertjs/core",
    "2.5.3",
    "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
)
WASM_UTILS = NpmPackage(
    "@litertjs/wasm-utils",
    "2.5.3",
    "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
)
# Of the four builds the two without threads, which need no special headers of the server: with and without relaxed
# SIMD. A browser loads one of them.
_BUILDS = ("litert_wasm_internal", "litert_wasm_compat_internal")
_FILES = {
    LITERT: {
        "dist/index.js": "litert.js",
        **{f"wasm/{build}.{end}": f"{build}.{end}" for build in _BUILDS for end in ("js", "wasm")},
    },
    WASM_UTILS: {"dist/index.js": "wasm-utils.js"},
}
_NOTICE = f"""LiteRT for the web: {LITERT.name} {LITERT.version} and {WASM_UTILS.name} {WASM_UTILS.version} from npm.
Copyright Google LLC, Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
"""


def find_engine(folder: Path | None, say: Callable[[str], None]) -> dict[NpmPackage, Path]:
    """The files of both npm packages, from a folder of `npm pack`, else from the cache, else fetched into it.

    Raises:
        PairError: they are not in `folder`, cannot be fetched, or are not what they should be.
    """
    found = {}
    for package in _FILES:
        path = (folder or cache_folder() / "npm") / package.file
        if folder is None and not path.is_file():
            say(f"fetching {package.name} {package.version}, once")
            data = _fetch(package)
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
        if not path.is_file():
            raise PairError(path, "a file of npm pack", "no such file", _remedy())
        _check(package, path.read_bytes(), str(path))
        found[package] = path
    return found


def write_engine(files: dict[NpmPackage, Path], folder: Path) -> None:
    """What a page needs of the packages of `find_engine`, into a folder that is there."""
    for package, path in files.items():
        with tarfile.open(path) as packed:
            for member, name in _FILES[package].items():
                stream = packed.extractfile(f"package/{member}")
                assert stream is not None  # the file is the one with the known hash
                (folder / name).write_bytes(_local(stream.read()) if name == "litert.js" else stream.read())
    (folder / "NOTICE.txt").write_text(_NOTICE, encoding="utf-8")


def _local(script: bytes) -> bytes:
    """The engine's script with its other package beside it: browsers know no packages by name."""
    return script.replace(b'from "@litertjs/wasm-utils"', b'from "./wasm-utils.js"').replace(
        b"//# sourceMappingURL=index.js.map", b""
    )


def _fetch(package: NpmPackage) -> bytes:
    try:
        with urllib.request.urlopen(package.url, timeout=_SECONDS) as response:
            data = response.read()
    except (OSError, ValueError) as error:  # urllib's URLError is an OSError
        message = f"{package.name} could not be fetched from npm ({getattr(error, 'reason', None) or error})."
        raise PairError("demo", message=message, remedy=_remedy()) from None
    _check(package, data, package.url)
    return data


def _check(package: NpmPackage, data: bytes, subject: str) -> None:
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != package.sha512:
        expected = f"{package.name} {package.version} as npm published it"
        raise PairError(subject, expected, "a file with another hash", f"Remove it. {_remedy()}")


def _remedy() -> str:
    packages = " ".join(f"{package.name}@{package.version}" for package in _FILES)
    return f"Where npm can be reached, run `npm pack {packages}`, and name the folder with --engine-folder."
