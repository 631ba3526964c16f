import json

import pytest

from pair_fld.inference.archive import shipped_archive, unpacked
from pair_fld.runtime.calibration import calibration_from_json
from pair_fld.runtime.metadata import FORMAT_VERSION, model_metadata, parse_metadata
from pair_fld.runtime.pipeline import load_pipeline


def format_1(detector: str) -> dict:
    policy = {"detector": detector, "offset": [0.01, -0.04], "scale": [0.75, 0.74]}
    return {
        "format": 1,
        "points": 51,
        "input": {"size": 96, "colour": "bgr", "mean": 127.5, "scale": 1 / 127.5},
        "crop": {"margin": 1.456, "from_detector": policy},
        "output": {"kind": "coords"},
        "trained": {"seed": 3},
    }


def test_format_1_becomes_format_2():
    read = parse_metadata(json.dumps(format_1("own_128")))
    assert read["input"] == {"size": 96, "colour": "bgr", "mean": 127.5, "std": 127.5}
    assert (read["format_version"], read["num_points"], read["trained"]) == (FORMAT_VERSION, 51, {"seed": 3})
    assert read["crop"]["margin"] == 1.4  # over the frame's size, which is 1.04 times the box's longer side
    assert calibration_from_json(read["crop"]["detector_calibration"]).detector == "own_128"
    assert {"format", "points"} & set(read) == set()


def test_a_detector_that_is_calibrated_here_needs_no_box_policy():
    assert set(parse_metadata(json.dumps(format_1("blazeface_128")))["crop"]) == {"margin"}


def test_format_2_stays_as_it_is():
    metadata = model_metadata(96, 1.45, "heatmap", note="kept")
    assert parse_metadata(json.dumps(metadata)) == metadata


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"format": 3}', "metadata format 3, this version reads 2 and 1"),
        ('{"format_version": 9}', "metadata format 9, this version reads 2 and 1"),
        ("[]", "no JSON object"),
    ],
)
def test_other_metadata_is_refused(text: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        parse_metadata(text)


def test_the_shipped_archive_opens():
    with unpacked(shipped_archive()) as folder:
        pipeline = load_pipeline(folder)
    assert pipeline.calibration.key_points == pipeline.detector.key_points
