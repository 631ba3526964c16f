import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.annotators.fit_scheme import Frames, fit_scheme
from pair_fld.annotators.images import data_of
from pair_fld.annotators.pairs import Pairs, lookup_of, read_pairs
from pair_fld.config import DataConfig, PercentOffset, ReferenceConfig, SourceConfig
from pair_fld.data.conventions import move_points
from pair_fld.data.load_face import read_face
from pair_fld.data.packing.zero_points import source_placements, with_offsets
from pair_fld.data.point_map import load_point_map
from pair_fld.data.sources.listing import list_samples
from pair_fld.errors import PairError
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.landmark_files import read_one_face, write_faces
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.scheme import FLIP
from tests.annotators.shapes import (
    COUNT,
    annotator_points,
    eye_distance,
    labels_of,
    write_annotations,
    write_set,
)
from tests.cli.command import pairfld

A, B, FRESH = range(60), range(60, 120), range(500, 503)
SHIFT = (2.0, -1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets a and b, b's labels shifted by SHIFT; `fresh` with annotations alone; labels/ of the annotator; map.npz."""
    root = tmp_path_factory.mktemp("fit")
    write_set(root, "a", A)
    write_set(root, "b", B, SHIFT)
    write_set(root, "fresh", FRESH)
    write_annotations(root / "labels", root, {"a": A, "b": B, "fresh": FRESH})
    point_map, report = fit_scheme(read_pairs(lookup_of(str(root / "labels"), data_of), [config(root)]))
    point_map.save(root / "map.npz")
    (root / "report.json").write_text(json.dumps(report.to_json()))
    return root


def config(root: Path, **changes: object) -> DataConfig:
    sources = [SourceConfig.model_validate({"name": name, "kind": "ibug", "path": name, **changes}) for name in "ab"]
    return DataConfig(sources=sources, root=str(root))


def test_the_map_and_the_shifts_are_found_together(data: Path):
    report = json.loads((data / "report.json").read_text())
    # the relation is linear, but for what the frame takes out: 20 points tell the 4 modes almost exactly
    assert report["nme_outer_corners_percent"] < 0.5
    assert report["shifts"]["a"]["x_percent"] == report["shifts"]["a"]["y_percent"] == 0
    assert report["shifts"]["b"]["x_percent"] == pytest.approx(SHIFT[0], abs=0.1)
    assert report["shifts"]["b"]["y_percent"] == pytest.approx(SHIFT[1], abs=0.1)
    assert report["faces"] == {"a": 60, "b": 60}
    assert set(report["nme_by_region_percent"]) >= {"nose_bridge", "lip_inner"}


def test_what_is_left_at_each_sources_own_convention(tmp_path: Path):
    """b's brows lie 6 % of the eye distance lower than a's: 10 of 51 points, and the map has them half-way."""
    write_set(tmp_path, "a", A)
    write_set(tmp_path, "b", B)
    write_annotations(tmp_path / "labels", tmp_path, {"a": A, "b": B})
    low = np.zeros((51, 2))
    low[:10, 1] = 6.0
    for seed in B:
        moved = move_points(labels_of(seed), low, np.ones(51, bool))
        write_faces(tmp_path / "b/labels" / f"{seed}.pts", [moved])
    report = fit_scheme(read_pairs(lookup_of(str(tmp_path / "labels"), data_of), [config(tmp_path)]))[1]
    # b's zero point is 10 * 6 / 51 = 1.18 % lower; that apart, its brows lie 4.82 % lower and the rest 1.18 % higher.
    # Half-way from both: (10 * 2.41 + 41 * 0.59) / 51 = 0.95 % of error in each source
    assert list(report.sources.values()) == pytest.approx([0.95, 0.95], abs=0.15)
    # less the two medians 0 is left, but for the turned faces: a zero point is one of the image's axes
    assert max(report.own_convention.values()) < 0.5
    tree = report.to_json()["nme_by_source_at_own_convention_percent"]
    assert tree == {name: round(value, 4) for name, value in report.own_convention.items()}


def test_faces_that_it_did_not_see_come_out_at_the_first_sources_zero_point(data: Path):
    point_map = load_point_map(data / "map.npz")
    for seed in FRESH:
        truth = labels_of(seed)
        for flip in (0, 1):
            found = point_map(annotator_points(seed, flip), flip)
            assert found is not None
            error = np.linalg.norm(found - truth, axis=1).mean() / eye_distance(truth)
            assert error < 0.005
    # one flip's numbers do not serve the other: the annotator is off by 7 % of the face's size between them
    wrong = point_map(annotator_points(FRESH[0], 1), 0)
    assert np.linalg.norm(wrong - labels_of(FRESH[0]), axis=1).mean() < 0.5 * eye_distance(labels_of(FRESH[0]))


def test_other_labels_of_an_image_with_two_faces_go_to_the_nearest(tmp_path: Path):
    """51 points at (60, 60), (200, 60) and (330, 60); 20 points at (202, 61) and (61, 59), listed in that order."""
    square = np.stack(np.meshgrid(np.arange(10.0), np.arange(6.0)), axis=-1).reshape(-1, 2) * 5
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((150, 400, 3), np.uint8))

    rows = [(square[:51] + corner).ravel().tolist() for corner in ((60, 60), (200, 60), (330, 60))]
    (tmp_path / "faces.csv").write_text("".join(f"a.png,{','.join(map(str, row))}\n" for row in rows))
    faces = [((square[::3] + corner).tolist()) for corner in ((202, 61), (61, 59))]
    annotations = [
        {"id": k, "image_id": 1, "category_id": 1, "keypoints": [v for x, y in face for v in (x, y, 2)]}
        for k, face in enumerate(faces)
    ]
    tree = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": annotations}
    (tmp_path / "others.json").write_text(json.dumps(tree))
    one = [
        SourceConfig(name="s", kind=kind, path=name) for kind, name in (("csv", "faces.csv"), ("coco", "others.json"))
    ]
    target, others = (DataConfig(sources=[source], root=str(tmp_path)) for source in one)
    pairs = read_pairs(lookup_of("others.json", lambda _: others), [target])
    assert pairs.missed == (1,)  # the third face has no other label
    np.testing.assert_array_equal(pairs.points[:, 0], [faces[1], faces[0]])


def test_labels_of_any_kind_are_learnt_from(data: Path, tmp_path: Path):
    """20 points in a CSV that no scheme has, to 51 in a COCO file; the two folders hold nothing but these."""
    target = tmp_path / "coco"
    target.mkdir()
    rows, annotations = [], []
    for seed in A:
        rows.append(f"{data}/a/images/{seed}.png,{','.join(map(str, annotator_points(seed, 0).ravel().tolist()))}\n")
        keypoints = [v for x, y in labels_of(seed).tolist() for v in (x, y, 2)]
        annotations.append({"id": seed, "image_id": seed, "category_id": 1, "keypoints": keypoints})
    (tmp_path / "twenty.csv").write_text("".join(rows))
    images = [{"id": seed, "file_name": f"{data}/a/images/{seed}.png"} for seed in A]
    (target / "faces.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    call = ("fit-scheme", "--from", str(tmp_path / "twenty.csv"), "--to", str(target))
    done = pairfld(*call, "--out", str(tmp_path / "map.npz"), "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert list(report["faces"].values()) == [60]
    assert report["nme_outer_corners_percent"] < 0.5
    assert load_point_map(tmp_path / "map.npz").count == COUNT


def test_zero_names_another_source(data: Path):
    pairs = read_pairs(lookup_of(str(data / "labels"), data_of), [config(data)])
    report = fit_scheme(pairs, zero="b", ridges=(1e-3,))[1]
    assert report.shifts["a"].x == pytest.approx(-SHIFT[0], abs=0.2)
    with pytest.raises(PairError, match="one of a, b, mirror"):
        fit_scheme(pairs, zero="c")
    with pytest.raises(PairError, match="20 faces or more"):
        fit_scheme(pairs.pick(np.arange(5)))


def test_the_mirrors_zero_point_is_where_a_face_and_its_mirror_image_agree():
    faces = 120
    truth = np.stack([labels_of(seed) for seed in range(faces)])
    unit = np.array([eye_distance(face) for face in truth])[:, None, None] / 100
    # an annotator that does the same on any image: here a mean of the 51, off by 3 % to the right in the image it sees
    seen = np.stack([truth, truth[:, list(FLIP)] * [-1, 1]], axis=1)
    answers = seen[:, :, :20] + unit[:, None] * [3, 0]
    answers[:, 1] *= [-1, 1]  # brought back to the image
    b = np.arange(faces) % 2 == 1
    labels = truth + unit * np.where(b[:, None, None], [5.0, -1.0], [2.0, 1.0])
    mask, group = np.ones((faces, 51), bool), np.arange(faces).astype(str)
    pairs = Pairs(answers, labels, mask, b.astype(int), group, ("a", "b"), (0, 0))
    point_map, report = fit_scheme(pairs, zero="mirror", ridges=(1e-3,))
    # x against the faces themselves, y against the mean of both sources
    assert [report.shifts[name].x for name in "ab"] == pytest.approx([2.0, 5.0], abs=0.2)
    assert [report.shifts[name].y for name in "ab"] == pytest.approx([1.0, -1.0], abs=0.2)
    for flip in (0, 1):
        found = point_map(answers[0, flip], flip)
        assert found is not None
        # half of the 3 % remains at most: faces are turned by up to 30 degrees, and the map knows of no image's axes
        np.testing.assert_allclose(found, truth[0], atol=1.5 * unit[0, 0, 0])
    once = answers.copy()
    once[:, 1] = np.nan
    with pytest.raises(PairError, match="answers on both flips, found one flip"):
        fit_scheme(Pairs(once, labels, mask, b.astype(int), group, ("a", "b"), (0, 0)), zero="mirror")


def test_frames_in_bulk_are_those_of_the_runtime():
    faces = np.stack([labels_of(seed) for seed in range(5)])
    mask = np.ones((5, 51), bool)
    mask[2, :19] = False
    bulk = Frames.fit(faces, MEAN_FACE, mask)
    for k in range(5):
        one = fit_frame(faces[k], MEAN_FACE, mask[k])
        assert abs(bulk.scale[k]) == pytest.approx(one.size)
        assert np.degrees(np.angle(bulk.scale[k])) == pytest.approx(one.roll)
        assert (bulk.origin[k].real, bulk.origin[k].imag) == pytest.approx(one.centre)


def test_the_map_is_a_scheme_of_any_source(data: Path, tmp_path: Path):
    write_set(tmp_path, "set", FRESH)
    for seed in FRESH:
        write_faces(tmp_path / "set/labels" / f"{seed}.pts", [annotator_points(seed, 0)])
    source = SourceConfig(name="s", kind="ibug", path="set", scheme=str(data / "map.npz"))
    samples = list_samples(DataConfig(sources=[source], root=str(tmp_path))).samples
    for seed, sample in zip(FRESH, samples, strict=True):
        labels = read_face(sample, source)[1]
        assert labels is not None
        assert labels.point_mask.all()
        np.testing.assert_allclose(labels.points, labels_of(seed), atol=0.5)


def test_annotations_are_a_source(data: Path):
    write = data / "labels/points/fresh/images"
    (write / "gone.png.pts").write_text((write / f"{FRESH[0]}.png.pts").read_text())
    source = SourceConfig(
        name="s", kind="annotation", path=str(data / "labels"), labels="machine", scheme=str(data / "map.npz")
    )
    listed = list_samples(DataConfig(sources=[source], root=str(data)))
    assert [entry.reason for entry in listed.left_out] == ["labels without an image"]
    (write / "gone.png.pts").unlink()
    sample = next(sample for sample in listed.samples if sample.key == f"fresh/images/{FRESH[1]}.png")
    labels = read_face(sample, source)[1]
    assert labels is not None
    np.testing.assert_allclose(labels.points, labels_of(FRESH[1]), atol=0.4)
    bare = source.model_copy(update={"scheme": None})
    with pytest.raises(PairError, match="a `scheme` that leads to the 51 points"):
        list_samples(DataConfig(sources=[bare], root=str(data)))


def test_zero_points_are_estimated_and_brought_together(data: Path):
    reference = ReferenceConfig(labels=str(data / "labels"), scheme=str(data / "map.npz"))
    both = config(data, offset="auto").model_copy(update={"reference": reference})
    placements = source_placements(both, list_samples(both).samples)
    assert [one is not None and round(one.shift.x, 1) for one in placements] == [0.0, SHIFT[0]]
    assert [one is not None and one.shift.faces for one in placements] == [60, 60]
    _, b = with_offsets(both, placements, None)
    assert isinstance(b.offset, PercentOffset)
    sample = list_samples(both).samples[60]
    labels = read_face(sample, b)[1]
    assert labels is not None
    # b's labels come to a's zero point; the file itself is 2 % of the eye distance to the right
    seed = int(sample.path.stem)
    np.testing.assert_allclose(labels.points, labels_of(seed), atol=0.1)
    as_it_stands = read_face(sample, both.sources[1])[1]
    assert as_it_stands is not None
    assert sample.label is not None
    np.testing.assert_allclose(as_it_stands.points, read_one_face(sample.label), atol=1e-9)
    lonely = config(data, offset="auto")
    with pytest.raises(PairError, match="a `reference` for its `offset: auto`"):
        source_placements(lonely, [])


def test_maps_that_are_none(data: Path, tmp_path: Path):
    with pytest.raises(PairError, match="no such file"):
        load_point_map(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("a: 1")
    with pytest.raises(PairError, match="found another file"):
        load_point_map(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(PairError, match=r"expected a point map \(\.npz\)"):
        load_point_map(tmp_path / "other.npz")
    point_map = load_point_map(data / "map.npz")
    assert (point_map.count, point_map.flips) == (COUNT, 2)
    with pytest.raises(ValueError, match=r"takes 20 points on 2 flip"):
        point_map(np.zeros((3, 2)))
    assert point_map(np.zeros((COUNT, 2))) is None  # all points in one place


def test_the_verb(data: Path, tmp_path: Path):
    target = tmp_path / "map.npz"
    call = ("fit-scheme", "--from", str(data / "labels"), "--to", str(data / "a"), "--out", str(target))
    done = pairfld(*call, "--json")
    assert done.code == 0, done.err
    assert list(json.loads(done.out)["faces"].values()) == [60]
    assert load_point_map(target).count == COUNT
    assert pairfld(*call).code == 2
    assert "cross-validated" in pairfld(*call, "--overwrite").out
