"""Every sentence that an error of the user can print, held as text: tests/error_sentences.txt, to be read aloud.

They are taken from the source: {name} stands for what is filled in. After a change of wording:
PAIRFLD_UPDATE_TEXTS=1 python -m pytest tests/test_error_sentences.py
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pair_fld

PACKAGE = Path(pair_fld.__file__).parent
FILE = Path(__file__).parent / "error_sentences.txt"
UPDATE = "PAIRFLD_UPDATE_TEXTS"
FIELDS = ("subject", "expected", "found", "remedy")


def sentences(path: Path) -> Iterator[str]:
    """The messages of PairError and GateError, and in the runtime of ValueError and OSError, in the file's order."""
    plain = ("ValueError", "OSError", "FileNotFoundError") if "runtime" in path.parts else ()
    for scope in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        local: dict[str, ast.expr] = {}  # of the assignments above
        for node in sorted(own_nodes(scope), key=lambda node: getattr(node, "lineno", 0)):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                local[node.targets[0].id] = node.value
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            call = node.exc
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name == "PairError":
                yield pair_error(call, local)
            elif (name == "GateError" or name in plain) and call.args:
                yield text(call.args[-1], local)


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function in order, without those of the functions in it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from own_nodes(child)


def pair_error(call: ast.Call, local: dict[str, ast.expr]) -> str:
    parts = {name: text(value, local) for name, value in zip(FIELDS, call.args, strict=False)}
    parts |= {keyword.arg: text(keyword.value, local) for keyword in call.keywords if keyword.arg}
    remedy = parts.get("remedy", "")
    if "message" in parts:
        return f"{parts['message']} {remedy}"
    return f"{parts.get('subject')}: expected {parts.get('expected')}, found {parts.get('found')}. {remedy}"


def text(node: ast.expr, local: dict[str, ast.expr], depth: int = 3) -> str:
    """A string expression as it prints, other expressions in braces; a local name is followed to its string."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part, {}, depth) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text(node.left, local, depth) + text(node.right, local, depth)
    if isinstance(node, ast.Name) and depth and isinstance(local.get(node.id), ast.Constant | ast.JoinedStr):
        return text(local[node.id], local, depth - 1)
    return "{" + ast.unparse(node) + "}"


def all_sentences() -> str:
    blocks = []
    for path in sorted(PACKAGE.rglob("*.py")):
        found = list(sentences(path))
        if found:
            blocks.append("\n".join([path.relative_to(PACKAGE.parent).as_posix(), *(f"    {s}" for s in found)]))
    return "\n\n".join(blocks) + "\n"


def test_error_sentences_are_what_was_read() -> None:
    found = all_sentences()
    if os.environ.get(UPDATE):
        FILE.write_text(found, encoding="utf-8")
    assert found == FILE.read_text(encoding="utf-8"), f"changed on purpose? {UPDATE}=1 python -m pytest {__file__}"


def test_a_sentence_is_taken_as_it_prints(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "def f(path, n):\n"
        "    if n > 1:\n"
        "        remedy = 'Check it.'\n"
        "        raise PairError(path, f'{n} faces', 'none', remedy)\n"
        "    remedy = 'Make it.'\n"
        "    raise PairError(path, 'a face', 'none', remedy)\n"
        "def g(x):\n"
        "    raise PairError(x, message=f'No images match {x!r}.', remedy='Correct the pattern.')\n"
        "def h():\n"
        "    raise GateError('too ' 'slow')\n"
    )
    assert list(sentences(source)) == [
        "{path}: expected {n} faces, found none. Check it.",
        "{path}: expected a face, found none. Make it.",
        "No images match {x}. Correct the pattern.",
        "too slow",
    ]
