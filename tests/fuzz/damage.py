"""Ways in which files are damaged. Each takes a path and a random generator and says in words what it did."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Damage = Callable[[Path, random.Random], str]

WORDS = ("nan", "inf", "-inf", "-1", "0", "1e999", "1e-999", "", " ", "null", "[]", "{}", "true", "x", "NaN,NaN",
         "../..", "/", "[bold]", "é", "\U0001f600", "\0", "\ufeff", "99999999999999999999", "0x10", "1_0", "~", "*a",
         "&a", "!!python/object:os.system", "'", '"', "\\", "%s", "x" * 300)  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1, 2, 0.5, -0.5, float("nan"), float("inf"), 10**30, 1e300, "", "x",
          "auto", "../x", [], {}, [1, 2], {"a": 1}, "nan", "\ud800", [[[]]], -(2**63))  # fmt: skip
NAMES = ("-x", "--help", " x ", "a b", "a\nb", "[red]", "x" * 240, "é", "e\u0301", "\udcff\udcfe", "a.b.c", ".hidden",
         "\\", "CON", "%d", "%05d", "*", "?", "~", "$HOME", "#", "'", '"', ",", "\U0001f600", "\u202e", "-", "a\tb",
         "0" * 30, "..x", "x.")  # fmt: skip
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


def truncated(path: Path, rng: random.Random) -> str:
    length = rng.randrange(max(1, path.stat().st_size))
    path.write_bytes(path.read_bytes()[:length])
    return f"cut to {length} bytes"


def emptied(path: Path, rng: random.Random) -> str:
    path.write_bytes(b"")
    return "emptied"


def flipped(path: Path, rng: random.Random) -> str:
    data, count = bytearray(path.read_bytes() or b"\0"), rng.choice((1, 1, 3, 20))
    for _ in range(count):
        place = rng.randrange(min(len(data), rng.choice((64, 1024, len(data)))))
        data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"{count} bits flipped"


def overwritten(path: Path, rng: random.Random) -> str:
    data, length = bytearray(path.read_bytes()), rng.choice((4, 40, 400))
    place = rng.randrange(max(1, len(data)))
    data[place : place + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    path.write_bytes(data)
    return f"{length} bytes replaced at {place}"


def inserted(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.randbytes(rng.choice((1, 7, 300)))
    path.write_bytes(data)
    return f"random bytes inserted at {place}"


def noise(path: Path, rng: random.Random) -> str:
    path.write_bytes(rng.randbytes(rng.choice((1, 10, 5000))))
    return "replaced by random bytes"


def swapped(path: Path, rng: random.Random) -> str:
    others = [p for p in sorted(Path().rglob("*")) if p.is_file() and not p.is_symlink() and p != path]
    other = rng.choice(others)
    shutil.copyfile(other, path)
    return f"replaced by {other}"


def pointer(path: Path, rng: random.Random) -> str:
    path.write_bytes(rng.choice((LFS, b"<!DOCTYPE html><html><body>404 Not Found</body></html>")))
    return "replaced by a Git LFS pointer or a web page"


def folder(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "x").write_text("x")
    return "replaced by a folder"


def loop(path: Path, rng: random.Random) -> str:
    path.unlink()
    target = rng.choice((path.name, ".", "nowhere", "..", "/dev/null"))
    path.symlink_to(target)
    return f"replaced by a link to {target}"


def removed(path: Path, rng: random.Random) -> str:
    path.unlink()
    return "removed"


def renamed(path: Path, rng: random.Random) -> str:
    name = rng.choice(NAMES)
    kept = path.suffix if rng.random() < 0.8 else rng.choice((".JPG", ".PNG", "", ".txt", ".gif", ".csv"))
    raw = os.fsencode(name)[: 255 - len(os.fsencode(kept))]
    new = path.with_name(os.fsdecode(raw) + kept)
    twin = Path(str(path.parent).replace("images", "labels")) / f"{path.stem}.pts"
    if twin.is_file() and twin != path:
        twin.rename(twin.with_name(os.fsdecode(raw) + ".pts"))
    path.rename(new)
    return f"renamed to {os.fsencode(new.name)!r}"


def words(path: Path, rng: random.Random) -> str:
    """One word of a text replaced by an odd one."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    places = [k for k, c in enumerate(text) if c in " \n,:{}[]"]
    start = rng.choice(places) + 1 if places else 0
    end = next((k for k in places if k > start), len(text))
    word = rng.choice(WORDS)
    path.write_text(text[:start] + word + text[end:], encoding="utf-8", errors="surrogateescape")
    return f"{text[start:end][:40]!r} became {word[:40]!r} at {start}"


def lines(path: Path, rng: random.Random) -> str:
    """A line removed, repeated, moved or emptied."""
    every = path.read_bytes().split(b"\n")
    k = rng.randrange(len(every))
    how = rng.choice(("removed", "repeated", "moved", "emptied", "joined"))
    if how == "moved":
        rng.shuffle(every)
    else:
        line = every[k]
        every[k : k + 1] = {"removed": [], "repeated": [line] * 3, "emptied": [b""], "joined": [line + b",5"]}[how]
    path.write_bytes(b"\n".join(every))
    return f"line {k} {how}"


def encoded(path: Path, rng: random.Random) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    encoding = rng.choice(("utf-16", "utf-32", "utf-8-sig", "cp037"))
    path.write_bytes(text.replace("\n", rng.choice(("\n", "\r\n", "\r"))).encode(encoding, errors="replace"))
    return f"written as {encoding}"


def json_value(path: Path, rng: random.Random) -> str:
    """One value of a JSON or YAML tree replaced by one of another type."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    key, value = _change(tree, rng)
    path.write_text(json.dumps(tree), encoding="utf-8")
    return f"{key} = {value!r}"[:200]


def _change(tree: Any, rng: random.Random) -> tuple[str, Any]:
    spots = list(_spots(tree, ""))
    node, key, name = rng.choice(spots)
    how = rng.random()
    if how < 0.1 and isinstance(node, dict):
        del node[key]
        return name, "removed"
    value = rng.choice(VALUES)
    if how < 0.2 and isinstance(node, dict):
        node["odd"] = value
        return f"{name}.. odd", value
    node[key] = value
    return name, value


def _spots(tree: Any, name: str) -> Any:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield tree, key, f"{name}.{key}"
        yield from _spots(child, f"{name}.{key}")


def npz_array(path: Path, rng: random.Random) -> str:
    """One array of an .npz (or the one of an .npy) of another shape, type or value."""
    if path.suffix == ".npy":
        array, how = _odd_array(np.load(path), rng)
        np.save(path, array)
        return how
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    name = rng.choice(sorted(arrays))
    if rng.random() < 0.15:
        del arrays[name]
        how = "removed"
    else:
        arrays[name], how = _odd_array(arrays[name], rng)
    np.savez(path, **arrays)
    return f"{name}: {how}"


def _odd_array(array: np.ndarray, rng: random.Random) -> tuple[np.ndarray, str]:
    how = rng.choice(("shorter", "flat", "text", "objects", "one value", "negative", "nan", "other type", "scalar"))
    if how == "shorter":
        return array[: len(array) // 2] if array.ndim else array, how
    if how == "flat":
        return array.reshape(-1), how
    if how == "text":
        return array.astype("U8"), how
    if how == "objects":
        return array.astype(object), how
    if how == "scalar":
        return np.array(5), how
    if how == "other type":
        return array.astype(np.complex64 if array.dtype.kind in "fiub" else "S5"), how
    if array.dtype.kind in "US":
        return np.full_like(array, "x"), how
    value = {"one value": 1, "negative": -1, "nan": np.nan}[how]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.full_like(array, np.asarray(value).astype(array.dtype)), how


def checkpoint_value(path: Path, rng: random.Random) -> str:
    """One value of a checkpoint replaced by one of another type."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    key, value = _change(state, rng)
    torch.save(state, path)
    return f"{key} = {value!r}"[:200]


def model_metadata(path: Path, rng: random.Random) -> str:
    """One value of the metadata of a model file, or of a member of a zip, replaced."""
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(str(path))
        tree = json.loads(model.metadata_props[0].value)
        key, value = _change(tree, rng)
        model.metadata_props[0].value = json.dumps(tree)
        onnx.save(model, str(path))
        return f"metadata {key} = {value!r}"[:200]
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = rng.choice(sorted(members))
    if name.endswith(".json"):
        tree = json.loads(members[name])
        key, value = _change(tree, rng)
        members[name] = json.dumps(tree).encode()
        how = f"{key} = {value!r}"
    elif rng.random() < 0.3:
        del members[name]
        how = "removed"
    else:
        members[name] = rng.choice((b"", members[name][: len(members[name]) // 2], LFS, rng.randbytes(100)))
        how = f"of {len(members[name])} bytes"
    head = path.read_bytes()
    start = head.find(b"PK\x03\x04") if path.suffix == ".tflite" else 0
    buffer = io.BytesIO(head[:start])
    with zipfile.ZipFile(buffer, "a") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    path.write_bytes(buffer.getvalue())
    return f"{name}: {how}"[:200]


ANY: tuple[Damage, ...] = (truncated, emptied, flipped, flipped, overwritten, inserted, noise, swapped, pointer, folder,
       loop, removed, renamed)  # fmt: skip
TEXT: tuple[Damage, ...] = (words, words, words, lines, lines, encoded)
BY_SUFFIX: dict[str, tuple[Damage, ...]] = {
    ".json": (*TEXT, json_value, json_value, json_value, json_value),
    ".yaml": (*TEXT, json_value, json_value, json_value, json_value, json_value, json_value),
    ".csv": TEXT,
    ".txt": TEXT,
    ".pts": TEXT,
    ".npz": (npz_array,) * 6,
    ".npy": (npz_array,) * 4,
    ".pt": (checkpoint_value,) * 6,
    ".onnx": (model_metadata,) * 4,
    ".tflite": (model_metadata,) * 4,
    ".zip": (model_metadata,) * 6,
}


def damage(path: Path, rng: random.Random) -> str:
    """Damage one file in a random way; what was done, in words."""
    how = rng.choice((*ANY, *BY_SUFFIX.get(path.suffix, ())))
    try:
        return f"{path} {how(path, rng)}"
    except Exception:  # of a reader: an earlier damage has left nothing of this form
        return f"{path} {flipped(path, rng)}"
