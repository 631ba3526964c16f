"""Reading label files as text, JSON and XML, and naming what a file of another kind is."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError

_REMEDY = "Correct the source's `kind` or `path`."


def read_text(path: Path, expected: str) -> str:
    """A label file's text: UTF-8 or UTF-16 with a byte-order mark.

    Raises:
        PairError: it cannot be read, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PairError(path, expected, error.strerror or str(error), "Check the path.") from None
    if data.startswith(b"PK\x03\x04"):
        raise PairError(path, expected, "a zip archive or a spreadsheet", "Unpack it, or save the sheet as CSV.")
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise PairError(path, expected, f"bytes that are no UTF-8 text ({error.reason})", _REMEDY) from None
    if "\0" in text:
        raise PairError(path, expected, "a binary file", _REMEDY)
    return text


_NAMES = {
    "cvat": "a CVAT export (kind: cvat)",
    "imglab": "an imglab file of dlib (kind: imglab)",
    "labelme": "a labelme file (kind: labelme takes its folder)",
    "coco": "a COCO file (kind: coco)",
    "ibug": "a .pts label (kind: ibug takes its folder)",
    "wflw": "a WFLW list (kind: wflw)",
}


def named_kind(text: str) -> str | None:
    """What the text of a label file is, with its source kind, as far as its beginning tells."""
    kind, start = kind_of_text(text), text[:4000].lstrip()
    if kind is not None:
        return _NAMES[kind]
    return "an XML file" if start.startswith("<") else "a JSON file" if start.startswith(("{", "[")) else None


def kind_of_text(text: str) -> str | None:
    """The source kind of a label file by its text; None for tables and for what is not known."""
    start = text[:4000].lstrip()
    first_line = start.split("\n", 1)[0]
    if start.startswith("<"):
        kinds = {"<annotations": "cvat", "<dataset": "imglab"}
        return next((kind for tag, kind in kinds.items() if tag in text[:20000]), None)
    if start.startswith(("{", "[")):
        if '"shapes"' in text:
            return "labelme"
        return "coco" if '"annotations"' in text and '"images"' in text else None
    if first_line.startswith(("version:", "n_points:")):
        return "ibug"
    fields = first_line.split()
    if len(fields) > 190 and _is_number(fields[0]) and not _is_number(fields[-1]):
        return "wflw"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_label_json(path: Path, expected: str) -> Any:
    """A JSON label file. Raises PairError as `read_text`, and for what is no JSON."""
    text = read_text(path, expected)
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        found = named_kind(text)
        if found is None or text.lstrip().startswith(("{", "[")):
            found = f"damaged JSON ({error})"
        raise PairError(path, expected, found, _REMEDY) from None


def read_label_xml(path: Path, root: str, expected: str) -> ElementTree.Element:
    """The root element of an XML label file, which must be called `root`. Raises PairError as `read_text`."""
    text = read_text(path, expected)
    try:
        # the text is decoded: without the declaration, whose encoding would be applied a second time
        tree = ElementTree.fromstring(text.split("?>", 1)[-1] if text.lstrip().startswith("<?xml") else text)
    except ElementTree.ParseError as error:
        found = f"damaged XML ({error})" if text.lstrip().startswith("<") else named_kind(text) or "no XML"
        raise PairError(path, expected, found, _REMEDY) from None
    if tree.tag != root:
        raise PairError(path, expected, named_kind(text) or f"XML with the root <{tree.tag}>", _REMEDY)
    return tree
