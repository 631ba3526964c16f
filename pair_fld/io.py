"""Files written whole or not at all, JSON, hashes."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """A temporary path beside `path` that is renamed onto it when the block ends well, and removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # not made of the name: that may be as long as the system allows
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp{path.suffix[:16]}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, tree: Any) -> None:
    """Write JSON whole or not at all."""
    with atomic_path(path) as temporary:
        # a file name that is no UTF-8 comes with lone surrogates, which no encoder takes
        text = json.dumps(tree, indent=2, ensure_ascii=False).encode("utf-8", errors="replace")
        temporary.write_bytes(text + b"\n")


def read_json(path: Path, what: str) -> Any:
    """Read JSON; PairError naming `what` was expected when the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PairError(path, what, "no such file", "Check the path, or run the stage that writes it.") from None
    except OSError as error:
        raise PairError(path, what, error.strerror or str(error), "Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise PairError(path, what, f"damaged JSON ({error})", "Run the stage that writes it again.") from None


def read_record(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object, a mapping of names to values; PairError as `read_json`, or when it is something else."""
    tree = read_json(path, what)
    if not isinstance(tree, dict):
        raise PairError(path, what, f"JSON of a {type(tree).__name__}", "Run the stage that writes it again.")
    return tree


def file_hash(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
