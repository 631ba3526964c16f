"""Strict configuration: every error is a sentence that names file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair_fld.config import (
    AugmentConfig,
    BudgetConfig,
    ConventionConfig,
    DataConfig,
    DetectorConfig,
    DistillConfig,
    ParetoConfig,
    ProtocolConfig,
    QuantConfig,
    SourceConfig,
    StageConfig,
    TrainConfig,
    config_root,
    load_recipe,
    load_section,
    read_recorded,
)
from pair_fld.config.renamed import RENAMED
from pair_fld.errors import PairError

STAGE = "model: {arch: coord_net}\ntrain: {epochs: 1, losses: {wing: 1.0}}\n"


def written(folder: Path, text: str) -> str:
    path = folder / "stage.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", sorted(p.stem for p in (config_root() / "recipe").glob("*.yaml")))
def test_shipped_recipes_are_valid(name: str) -> None:
    assert load_recipe(name).name == name


def test_defaults_and_overrides(tmp_path: Path) -> None:
    stage = load_section(StageConfig, "student", written(tmp_path, STAGE))
    assert stage.train.batch_size == 64
    recipe = load_recipe("synthetic", ["student=coord96", "student.train.lr=1e-3"])
    assert (recipe.student.model.arch, recipe.student.train.lr) == ("coord_net", 1e-3)
    assert load_recipe("synthetic", ["student.train.epochs=7"], student="coord96").student.train.epochs == 7
    recipe = load_recipe("synthetic", ["student.train.epochs=3", "data.sources.0.count=12", "data.root=/x y"])
    assert (recipe.student.train.epochs, recipe.data.sources[0].count, recipe.data.root) == (3, 12, "/x y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (STAGE + "colour: red\n", "unknown key 'colour'"),
        (STAGE.replace("epochs: 1", "epochs: many"), "'train.epochs' = 'many'"),
        (STAGE.replace("epochs: 1", "epochs: 1.5"), "'train.epochs' = 1.5"),
        (STAGE.replace("epochs: 1, ", ""), "missing key 'train.epochs'"),
        ("- a\n- b\n", "expected a mapping of keys to values, found list"),
        ("model: [\n", "expected a YAML file"),
        ("", "expected a mapping of keys to values, found an empty file"),
        ("model: 2020-13-45\n", "expected a YAML file, found month must be in 1..12"),
        ("[" * 2000, "expected a YAML file"),
        ("a: &a [*a]\n", "expected plain YAML values, found Circular reference"),
        (STAGE.replace("wing: 1.0", "wing: .inf"), "expected finite numbers, found 'train.losses.wing' = inf"),
        (STAGE.replace("coord_net", "coord_net, options: {stages: [[.nan]]}"), "'model.options.stages.0.0' = nan"),
    ],
)
def test_errors_are_sentences(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(PairError) as error:
        load_section(StageConfig, "student", written(tmp_path, text))
    assert expected in str(error.value)
    assert "stage.yaml" in str(error.value)


def test_a_renamed_key_names_the_new_one(tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"found 'train.epoch_steps', which is now called 'steps_per_epoch'"):
        load_section(StageConfig, "student", written(tmp_path, STAGE), ["train.epoch_steps=5"])
    with pytest.raises(PairError, match=r"'student.distill.live', .* 'teacher_mode' \(cached or per_step\)"):
        load_recipe("synthetic", ["student.distill.live=true"])


def test_every_renamed_key_has_a_place() -> None:
    sections = (DataConfig, TrainConfig, DistillConfig, QuantConfig, DetectorConfig)
    keys = {key for section in sections for key in section.model_fields}
    assert set(RENAMED.values()) <= keys
    assert not set(RENAMED) & keys


def test_records_of_earlier_versions_are_read() -> None:
    """A record keeps its meaning; names that the user chose are no keys, even where they look like an old one."""
    train = {"epochs": 1, "losses": {"wing": 1.0}, "epoch_steps": 7, "weights": {"live": 2.0, "empty": 0.0}}
    tree = {"model": {"arch": "x", "options": {"views": 3}}, "train": train, "distill": {"live": True, "fill": 1.5}}
    stage = read_recorded(StageConfig, tree)
    assert stage.train.steps_per_epoch == 7
    assert stage.train.source_weights == {"live": 2.0, "empty": 0.0}
    assert stage.model.options == {"views": 3}
    assert (stage.distill.teacher_mode, stage.distill.fill_max_sigma) == ("per_step", 1.5)


def test_all_errors_at_once(tmp_path: Path) -> None:
    with pytest.raises(PairError) as error:
        load_section(StageConfig, "student", written(tmp_path, STAGE.replace("epochs: 1", "epochs: x, huh: 1")))
    assert "'train.epochs'" in str(error.value)
    assert "unknown key 'train.huh'" in str(error.value)


def test_an_error_in_a_section_names_the_file_that_holds_it(tmp_path: Path) -> None:
    stage = written(tmp_path, STAGE.replace("epochs: 1", "epochs: many"))
    with pytest.raises(PairError) as error:
        load_recipe("synthetic", student=stage)
    assert str(error.value).startswith(
        f"{stage}: expected a valid configuration, found 'student.train.epochs' = 'many'"
    )


def test_missing_file_lists_the_known_names() -> None:
    with pytest.raises(PairError, match=r"no such file\. Known names: .*synthetic"):
        load_recipe("nothing-like-this")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("student.train.epochs", "expected key=value, found no '='"),
        ("quant.precisions=[fp32]", "release: int8-static needs int8-static in precisions"),
        ("data.seed=[1", "expected a YAML value, found '[1'"),
        ("student.train.nonsense=1", "unknown key 'student.train.nonsense'"),
        ("data.sources.9.count=1", "expected an index below"),
        ("name.x=1", "expected a section"),
        ("data.sources.0.weight=.inf", "found 'data.sources.0.weight' = inf"),
        ("student.train.lr=nan", "found 'student.train.lr' = nan"),
        ("data.seed=2020-13-45", "expected a YAML value"),
        ("data.seed=-1", "greater than or equal to 0"),
        ("student.train.seed=1000000000000000000000000", "'student.train.seed' = "),
        ("student.train.threads=5000", "less than or equal to 1024"),
        ("student.train.losses={}", "at least 1 item"),
        ("data.pack_margin=1.0e+30", "less than or equal to 10"),
        ("student.model.input_size=1000000", "less than or equal to 4096"),
        ("student.train.losses.wing=-1", "'student.train.losses.wing' = -1"),
        ("student.train.warmup_epochs=1e9", "less than or equal to 10000"),
        ("student.train.augment.rotation=5000", "less than or equal to 180"),
        ("student.train.augment.scale=5", "less than or equal to 1"),
        ("student.train.augment.shift=9", "less than or equal to 1"),
        ("budget.model_mb.max=-1", "greater than 0"),
        ("quant.precisions=[int8-static, int8-static]", "precisions: [int8-static, int8-static] names one twice"),
        ("quant.formats=[tflite, tflite]", "formats: [tflite, tflite] names one twice"),
        ("data.sources.0.name=''", "at least 1 character"),
        ("data.sources.0.images=x", "source 'synthetic': kind synthetic has no `images`"),
        (
            "data.sources.0={name: s, kind: csv, path: t.csv, box: [0, 0, 1, 1], count: 3, seed: 4}",
            "source 's': kind csv has no `box`, `count`, `seed`",
        ),
        (
            "data.sources.0={name: s, kind: synthetic, count: 1, scheme: wflw98, exif: ignore}",
            "kind synthetic has no `scheme`, `exif`",
        ),
        (
            "data.sources.0={name: s, kind: unlabelled, path: p, labels: human}",
            "kind unlabelled has no human labels; write labels: none",
        ),
    ],
)
def test_override_errors(override: str, expected: str) -> None:
    with pytest.raises(PairError) as error:
        load_recipe("synthetic", [override])
    assert expected in str(error.value)


def test_sections_without_a_recipe_have_bounds_too(tmp_path: Path) -> None:
    for text in ("steps: 1\nwidths: [0, -3, 24, 32, 40]\n", "steps: 1\nwidths: [5000, 3, 24, 32, 40]\n"):
        with pytest.raises(PairError, match=r"'widths\.0' = "):
            load_section(DetectorConfig, "detector", written(tmp_path, text))
    text = "source: {name: p, kind: ibug, path: p}\nfaces: 9\nwhole: 8\nevery: 1\n"
    with pytest.raises(PairError, match=r"found faces: 9 is more than whole: 8, of which they are a part\."):
        load_section(ProtocolConfig, "protocol", written(tmp_path, text))


SECTIONS_OF_FILES = {"data": DataConfig, "protocol": ProtocolConfig, "convention": ConventionConfig,
                     "teacher": StageConfig, "student": StageConfig, "quant": QuantConfig, "budget": BudgetConfig,
                     "detector": DetectorConfig, "pareto": ParetoConfig}  # fmt: skip


@pytest.mark.parametrize("folder", SECTIONS_OF_FILES)
def test_shipped_sections_are_valid(folder: str) -> None:
    names = [path.stem for path in (config_root() / folder).glob("*.yaml")]
    assert names
    for name in names:
        load_section(SECTIONS_OF_FILES[folder], folder, name)


def test_recorded_sources_keep_keys_that_their_kind_has_no_use_for() -> None:
    tree = {"name": "u", "kind": "unlabelled", "path": "u", "labels": "human", "seed": 5, "scheme": "ibug68"}
    recorded = read_recorded(DataConfig, {"sources": [tree]})
    assert (recorded.sources[0].labels, recorded.sources[0].seed) == ("human", 5)
    # what a run records today has every key, most with its default
    plain = DataConfig(sources=[SourceConfig(name="c", kind="csv", path="t.csv")])
    assert DataConfig.model_validate_json(plain.model_dump_json()) == plain


def test_a_folder_named_as_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "stage.yaml").mkdir()
    with pytest.raises(PairError, match=r"stage\.yaml: expected a configuration file"):
        load_section(StageConfig, "student", str(tmp_path / "stage.yaml"))


def test_numbers_are_finite_also_when_set_in_python() -> None:
    with pytest.raises(ValueError, match="finite number"):
        TrainConfig(epochs=1, lr=float("inf"), losses={"wing": 1.0})


def test_frozen() -> None:
    config = TrainConfig(epochs=1, losses={"wing": 1.0}, augment=AugmentConfig())
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 2  # type: ignore[misc]
