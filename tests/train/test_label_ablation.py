"""The ablation of labels: what its variants change, what they share, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.annotators.fit_scheme import fit_scheme
from pair_fld.annotators.images import data_of
from pair_fld.annotators.pairs import lookup_of, read_pairs
from pair_fld.config import (
    DataConfig,
    LabelAblationConfig,
    LabelVariant,
    PercentOffset,
    ReferenceConfig,
    SecondOpinionConfig,
    SourceConfig,
    load_section,
)
from pair_fld.errors import PairError
from pair_fld.io import read_json
from pair_fld.train.label_ablation import ablate_labels, label_stage, variant_data
from pair_fld.train.run_folder import RunSpec
from tests.annotators.shapes import write_annotations, write_set
from tests.train.settings import TINY, stage

LEARNT, TESTED = range(24), range(24, 30)


def sources(**changes: object) -> DataConfig:
    learnt = SourceConfig.model_validate({"name": "a", "kind": "ibug", "path": "a", "split": "train", **changes})
    tested = SourceConfig(name="t", kind="ibug", path="t", split="test")
    return DataConfig(sources=[learnt, tested], pack_size=48, num_workers=1, near_duplicate_distance=0)


def test_a_variant_changes_what_is_learnt_from_alone() -> None:
    data = sources(offset="auto", relabel=True).model_copy(update={"second_opinion": SecondOpinionConfig()})
    changes = {"*": {"offset": {"percent": [1.0, 2.0]}, "weight": 0.5}, "a": {"relabel": False, "weight": 3.0}}
    found = variant_data(data, LabelVariant(data={"second_opinion": None}, sources=changes), "v")
    learnt, tested = found.sources
    assert (found.second_opinion, learnt.relabel, learnt.weight) == (None, False, 3.0)
    assert learnt.offset == PercentOffset(percent=(1.0, 2.0))
    assert tested == data.sources[1]
    with pytest.raises(PairError, match="variant 'v': expected sources that are learnt from, among a, found t"):
        variant_data(data, LabelVariant(weights={"t": 0}), "v")
    with pytest.raises(PairError, match=r"expected valid settings of the data, found sources\.0\.ofset"):
        variant_data(data, LabelVariant(sources={"a": {"ofset": "keep"}}), "v")


def test_a_stage_keeps_the_terms_of_labels() -> None:
    own = label_stage(stage(losses={"wing": 0.5, "kd_wing": 1.0}), {"a": 0.0}, 7, 11).train
    assert (own.losses, own.seed, own.steps_per_epoch, own.source_weights) == ({"wing": 0.5}, 7, 11, {"a": 0.0})
    with pytest.raises(PairError, match="expected a term of labels, found kd_wing"):
        label_stage(stage(losses={"kd_wing": 1.0}), {}, 0, 1)


def test_the_shipped_variants_fit_the_shipped_data() -> None:
    config, data = (
        load_section(LabelAblationConfig, "ablation", "label-sources"),
        load_section(DataConfig, "data", "shared-faces"),
    )
    found = {name: variant_data(data, variant, name) for name, variant in config.variants.items()}
    first, *_, last = found.values()
    assert not any(source.relabel or source.offset != "keep" or source.second_opinion for source in first.sources)
    # a dataset each; weights need none of their own
    assert len({variant.model_dump_json() for variant in found.values()}) == 5
    assert last.reference is not None
    assert not last.reference.optional


@pytest.mark.slow
def test_it_packs_trains_measures_and_goes_on(tmp_path: Path) -> None:
    write_set(tmp_path, "a", LEARNT, (3.0, 0.0))
    write_set(tmp_path, "t", TESTED)
    write_annotations(tmp_path / "labels", tmp_path, {"a": LEARNT, "t": TESTED})
    data = sources(offset="auto").model_copy(
        update={
            "root": str(tmp_path),
            "reference": ReferenceConfig(labels=str(tmp_path / "labels"), scheme=str(tmp_path / "map.npz")),
        }
    )
    config = LabelAblationConfig(
        variants={
            "as they stand": LabelVariant(sources={"*": {"offset": "keep"}}),
            "at one zero point": LabelVariant(),
            "drawn twice": LabelVariant(weights={"a": 2}),
        }
    )
    run = RunSpec(tmp_path / "out", device="cpu", inputs=[tmp_path / "a"])
    tiny = stage(TINY, epochs=1)
    with pytest.raises(PairError, match=r"expected a point map \(\.npz\), found no such file"):
        ablate_labels(config, data, tiny, run, seeds=2, jobs=1)
    point_map, _ = fit_scheme(read_pairs(lookup_of(str(tmp_path / "labels"), data_of), [data]), ridges=(1e-3,))
    point_map.save(tmp_path / "map.npz")
    table = ablate_labels(config, data, tiny, run, seeds=2, jobs=1)
    assert [(row.variant, row.faces) for row in table[:4]] == [
        ("as they stand", "t"), ("at one zero point", "t"), ("drawn twice", "t"), ("as they stand", "t, shift removed"),
    ]  # fmt: skip
    assert all(np.isfinite(row.nme).all() for row in table)
    assert len(list((tmp_path / "out/datasets").iterdir())) == 2  # the last two variants share theirs
    results = sorted((tmp_path / "out").glob("*/result.json"))
    assert len(results) == 6
    # each variant has the steps of the first: 24 faces in batches of 8
    assert {read_json(path.parent / "run.json", "a run")["config"]["train"]["steps_per_epoch"] for path in results} == {
        3
    }
    results[0].write_text(json.dumps({"t": 50.0, "t, shift removed": 40.0}))
    again = ablate_labels(config, data, tiny, RunSpec(tmp_path / "out", resume=True, device="cpu"), seeds=2, jobs=1)
    assert 50.0 in again[0].nme + again[1].nme + again[2].nme  # measured results are kept
    other = stage(TINY, epochs=2)
    with pytest.raises(PairError, match="the same ablation to resume"):
        ablate_labels(config, data, other, RunSpec(tmp_path / "out", resume=True, device="cpu"), seeds=2, jobs=1)
