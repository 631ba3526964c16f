"""From YAML files and `key=value` overrides to validated sections; every error in a file is one sentence.

Unknown keys, wrong types and missing files are reported together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from pair_fld.config.base import Strict
from pair_fld.config.renamed import RENAMED_FILES, unknown_key
from pair_fld.config.schema import RecipeConfig
from pair_fld.errors import PairError

T = TypeVar("T", bound=Strict)

_DEEPEST = 32  # levels of a configuration; an alias that holds itself has no end
SECTIONS = ("data", "teacher", "student", "quant", "budget")


def config_root() -> Path:
    """The configs folder: of the working directory's checkout if there is one, else the installed copy."""
    return _config_roots()[0]


def _config_roots() -> list[Path]:
    """`config_root`, then the others there are."""
    package = Path(__file__).parents[1]
    folders = (Path.cwd() / "configs", package.parent / "configs", package / "_configs")
    roots = [folder for folder in folders if (folder / "recipe").is_dir()]
    if not roots:
        raise PairError("configs", "a folder configs/recipe", "none", "Reinstall pair_fld or run from its checkout.")
    return roots


def load_recipe(name: str, overrides: Sequence[str] = (), **sections: str | None) -> RecipeConfig:
    """A recipe by name (configs/recipe/NAME.yaml) or path, with `section.key=value` overrides applied.

    Args:
        sections: other files for some sections, e.g. student="coord96"; None leaves the recipe's. Overrides come
            after them; `student=coord96` as an override does the same.

    Raises:
        PairError: naming the file, every error in it, what was expected and what to do.
    """
    path = find_config("recipe", name)
    tree = _read_yaml(path) | {section: name for section, name in sections.items() if name is not None}
    whole = [text for text in overrides if text.partition("=")[0] in SECTIONS]
    for override in whole:
        _apply_override(tree, override)
    files: dict[str, Path] = {}
    for section in SECTIONS:
        if isinstance(tree.get(section), str):
            files[section] = find_config(section, tree[section])
            tree[section] = _read_yaml(files[section])
    for override in overrides:
        if override not in whole:
            _apply_override(tree, override)
    return _validate(RecipeConfig, tree, path, files)


def load_section(kind: type[T], folder: str, name: str, overrides: Sequence[str] = ()) -> T:
    """One section by name or path, e.g. `load_section(StageConfig, "student", "tiny96")`. Raises as `load_recipe`."""
    path = find_config(folder, name)
    tree = _read_yaml(path)
    for override in overrides:
        _apply_override(tree, override)
    return _validate(kind, tree, path)


def find_config(folder: str, name: str) -> Path:
    """A configuration file by path or by bare name in its folder; PairError lists the names there are."""
    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise PairError(path, "a configuration file", "no such file", f"Known names: {_known(folder)}.")
    # the installed copy too: a folder configs of one's own need not repeat what comes with the package
    paths = [root / folder / f"{name}.yaml" for root in _config_roots()]
    for path in paths:
        if path.is_file():
            return path
    if name in RENAMED_FILES:
        raise PairError(name, message=f"{name} is now called {RENAMED_FILES[name]}.", remedy="Write that.")
    raise PairError(paths[0], f"a {folder} configuration", "no such file", f"Known names: {_known(folder)}.")


def _known(folder: str) -> str:
    return ", ".join(sorted({p.stem for root in _config_roots() for p in (root / folder).glob("*.yaml")})) or "none"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PairError(path, "a configuration file", error.strerror or str(error), "Check the path.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that is none
        raise PairError(path, "a YAML file", " ".join(str(error).split()), "Correct the file.") from None
    if not isinstance(tree, dict):
        found = "an empty file" if tree is None else type(tree).__name__
        raise PairError(path, "a mapping of keys to values", found, "Correct the file.")
    return tree


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise PairError(f"override {override!r}", "key=value", "no '='", "Write e.g. student.train.epochs=3.")
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        node = _step(node, parent, override)
    value = _override_value(override, text)
    if isinstance(node, list):
        _step(node, last, override)
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise PairError(f"override {override!r}", f"a section at {'.'.join(parents)!r}", "a value", "Check the key.")


def _override_value(override: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise PairError(f"override {override!r}", "a YAML value", repr(text), "Quote the value.") from None
    if isinstance(value, str):  # YAML 1.1 takes 1e-3 for text
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _step(node: Any, part: str, override: str) -> Any:
    """One step into a tree: a key of a mapping (made when missing) or an index of a list."""
    if isinstance(node, list):
        if part.isdigit() and int(part) < len(node):
            return node[int(part)]
        raise PairError(f"override {override!r}", f"an index below {len(node)}", repr(part), "Check the key.")
    if not isinstance(node, dict):
        raise PairError(f"override {override!r}", f"a section before {part!r}", repr(node), "Check the key.")
    return node.setdefault(part, {})


def _validate(kind: type[T], tree: dict[str, Any], path: Path, files: Mapping[str, Path] | None = None) -> T:
    """files: of the sections that come from other files than `path`."""
    try:
        # JSON mode: YAML knows no tuples and writes 1 for 1.0; strictness between kinds of value stays
        return kind.model_validate_json(_to_json(tree, path))
    except ValidationError as error:
        by_file: dict[Path, list[str]] = {}
        for one in error.errors():
            by_file.setdefault((files or {}).get(str(next(iter(one["loc"]), "")), path), []).append(
                _error_sentence(one)
            )
        subject = ", ".join(map(str, by_file))
        found = "; ".join(sentence for sentences in by_file.values() for sentence in sentences)
        raise PairError(subject, "a valid configuration", found, "Correct the file or the override.") from None


def _to_json(tree: dict[str, Any], path: Path) -> str:
    if keys := list(_not_finite(tree)):
        raise PairError(path, "finite numbers", ", ".join(keys), "Correct the file or the override.")
    try:
        return json.dumps(tree)
    except (TypeError, ValueError, RecursionError) as error:  # ValueError: a YAML alias that holds itself
        raise PairError(path, "plain YAML values", str(error), "Quote the value.") from None


def _not_finite(node: Any, key: str = "", depth: int = 0) -> Iterator[str]:
    """The keys of infinite and not-a-number values, each with its value."""
    if isinstance(node, float) and not math.isfinite(node):
        yield f"{key!r} = {node}"
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children if depth < _DEEPEST else ():
        yield from _not_finite(child, f"{key}.{name}" if key else str(name), depth + 1)


def _error_sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown_key(error["loc"])
    if error["type"] == "missing":
        return f"missing key {key!r}"
    if error["type"] == "value_error":  # a rule of ours over a whole section
        return error["msg"].removeprefix("Value error, ")
    return f"{key!r} = {error['input']!r} ({error['msg'][0].lower()}{error['msg'][1:]})"
