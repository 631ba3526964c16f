"""prepare: bad input as counted skips, splits, duplicates, resuming, and the dataset that comes out."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.config import DataConfig, SourceConfig, load_section
from pair_fld.data import dataset as pack_module
from pair_fld.data.dataset import FaceDataset, LabelSource, Split
from pair_fld.data.packing import parts
from pair_fld.data.packing import prepare as stage
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.packing.splits import split_of
from pair_fld.errors import PairError
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.geometry import invert, transform_points
from pair_fld.runtime.landmark_files import write_faces
from tests.data.labelled_folders import SIDE, add_face, data_config, face_image, face_points, save_image


def ibug(path: str, **more: object) -> SourceConfig:
    return SourceConfig.model_validate({"name": path, "kind": "ibug", "path": path, "split": "train", **more})


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_pack_holds_checked_crops_and_points(tmp_path: Path) -> None:
    for seed in range(5):
        add_face(tmp_path / "in", f"f{seed}", seed)
    before = snapshot(tmp_path / "in")
    seen: list[tuple[int, int]] = []
    report = prepare(data_config(tmp_path, ibug("in")), tmp_path / "out", progress=lambda a, b: seen.append((a, b)))
    assert (report["faces"], report["train"], report["left_out"]) == (5, 5, {})
    assert seen[-1] == (5, 5)
    assert snapshot(tmp_path / "in") == before
    dataset = FaceDataset(tmp_path / "out")
    crops = dataset.images(np.arange(5))
    assert crops.shape == (5, 48, 48, 3)
    for k in range(5):
        assert dataset.faces.hash[k] == hashlib.sha256(crops[k].tobytes()).hexdigest()
        back = transform_points(invert(dataset.faces.matrix[k]), dataset.faces.points[k])
        assert np.abs(back - face_points(k)).max() < 1e-3
        expected, size = fit_frame(face_points(k)), 48 / dataset.margin
        assert dataset.faces.frame[k] == pytest.approx([23.5, 23.5, size, 0.0], abs=1e-4)  # upright, in the middle
        assert transform_points(invert(dataset.faces.matrix[k]), [23.5, 23.5]) == pytest.approx(
            expected.centre, abs=1e-3
        )
    assert dataset.faces.path.tolist() == [f"in/images/f{k}.png" for k in range(5)]
    assert dataset.record["seed"] == 0
    assert dataset.record["report"] == report
    assert dataset.record["config"]["pack_size"] == 48
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".pairfld",
        "faces.npz",
        "run.json",
        "shard-00000.npy",
        "sheet-train.png",
    ]


def test_every_bad_file_is_counted_with_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    add_face(folder, "good", 0)
    add_face(folder, "edge", 1, face_points(1) - [[32, 0]])  # a little outside is legal
    labels = {
        "few": np.delete(face_points(2), 0, axis=0),
        "outside": face_points(3) + 100,
        "nan3": face_points(4),
        "nan26": face_points(5),
        "flat": face_points(6) * [1, 0] + [0, 50],
        "point": np.full((51, 2), 60.0),
    }
    labels["nan3"][:3] = np.nan
    labels["nan26"][:26, 0] = np.inf
    for seed, (name, points) in enumerate(labels.items(), 2):
        add_face(folder, name, seed, points)
    for name in ("zero", "cut", "text"):
        add_face(folder, name, 20)
    (folder / "images" / "zero.png").write_bytes(b"")
    whole = (folder / "images" / "cut.png").read_bytes()
    (folder / "images" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / "text.png").write_text("not an image")
    for name, text in (("emptylabel", ""), ("garbage", "hello\n"), ("two", None)):
        add_face(folder, name, 30)
        if text is None:
            write_faces(folder / "labels" / "two.pts", [face_points(), face_points()])
        else:
            (folder / "labels" / f"{name}.pts").write_text(text)
    report = prepare(data_config(tmp_path, ibug("in")), tmp_path / "out")
    sentences = {Path(o["path"]).stem: (o["reason"], o["sentence"]) for o in report["list_left_out"]}
    assert sorted(Path(p).stem for p in FaceDataset(tmp_path / "out").faces.path) == ["edge", "good", "nan3"]
    assert report["left_out"] == {
        "unreadable image": 3,
        "unreadable labels": 3,
        "degenerate face box": 2,
        "wrong number of points": 1,
        "too many missing points": 1,
        "points outside the image": 1,
    }
    assert (
        sentences["few"][1]
        == "in/images/few.png: expected 49, 51, 68 or 98 points, or a source with a `scheme`, found 50"
    )
    assert sentences["nan26"][1].endswith("26 of the 51 points are missing, at most 25 may be")
    beyond = face_points(3).max() + 100 - (SIDE - 0.5)
    assert f"a point lies {beyond:.1f} pixels outside the 120 x 120 image" in sentences["outside"][1]
    assert sentences["outside"][1].endswith("is the label another image's?")
    assert "the file is empty" in sentences["zero"][1]
    assert "the image is cut short" in sentences["cut"][1]
    assert "not an image that OpenCV can decode" in sentences["text"][1]
    assert sentences["point"][1].endswith("the points span 0.0 x 0.0 pixels, too small or flat for a face")
    assert sentences["emptylabel"][1].endswith("expected one face, found 0")
    assert sentences["two"][1].endswith("expected one face, found 2")
    assert "line 1: expected 'version:'" in sentences["garbage"][1]
    faces = FaceDataset(tmp_path / "out").faces
    assert np.flatnonzero(~faces.point_mask[2]).tolist() == [0, 1, 2]
    assert report["sources"][0]["masked_points"] == 3


def palette_png(image: np.ndarray) -> bytes:
    """An indexed PNG of a grey image, written by hand: OpenCV writes none."""
    height, width = image.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    colours = bytes(v for k in range(256) for v in (k, k, k))
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"PLTE", colours) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def with_exif_rotation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">H", 1) + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_grey_16_bit_palette_and_rotated_images_are_all_upright_bgr(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    grey = cv2.cvtColor(face_image(0), cv2.COLOR_BGR2GRAY)
    colour = cv2.merge([grey, grey, grey])
    for name in ("a_colour", "b_grey", "c_16bit", "d_palette", "e_alpha", "f_exif"):
        add_face(folder, name, 0)
    images = folder / "images"
    save_image(images / "a_colour.png", colour)
    save_image(images / "b_grey.png", grey)
    save_image(images / "c_16bit.png", grey.astype(np.uint16) * 257)
    (images / "d_palette.png").write_bytes(palette_png(grey))
    save_image(images / "e_alpha.png", np.dstack([colour, np.full_like(grey, 10)]))
    turned = cv2.rotate(colour, cv2.ROTATE_90_COUNTERCLOCKWISE)  # orientation 6: turn clockwise to view
    jpeg = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    (images / "f_exif.png").unlink()
    (images / "f_exif.jpg").write_bytes(with_exif_rotation(jpeg, 6))
    config = data_config(tmp_path, ibug("in", split="test"))  # test faces are never thinned out as duplicates
    report = prepare(config, tmp_path / "out")
    assert report["left_out"] == {}
    crops = FaceDataset(tmp_path / "out").images(np.arange(6))
    for k in range(1, 5):
        np.testing.assert_array_equal(crops[k], crops[0])
    assert np.abs(crops[5].astype(int) - crops[0]).mean() < 2
    assert report["duplicate_pairs_in_test"] == 15  # all pairs of six


def test_cmyk_jpeg_is_read_as_colour(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="only Pillow writes CMYK images here")
    add_face(tmp_path / "in", "a", 0)
    (tmp_path / "in" / "images" / "a.png").unlink()
    red = np.full((SIDE, SIDE, 3), (200, 30, 30), np.uint8)  # RGB
    pil.fromarray(red).convert("CMYK").save(tmp_path / "in" / "images" / "a.jpg", quality=95)
    prepare(data_config(tmp_path, ibug("in")), tmp_path / "out")
    blue, green, red_value = (int(v) for v in FaceDataset(tmp_path / "out").images(np.array([0]))[0, 24, 24])
    assert red_value > 150
    assert max(blue, green) < 80


def test_splits_follow_people_and_do_not_move(tmp_path: Path) -> None:
    people = [f"P{k}" for k in range(24)]
    for k, person in enumerate(people):
        for shot in range(2):
            add_face(tmp_path / "in", f"{person}_{shot}", 100 + 2 * k + shot)
    source = ibug("in", split="auto", identity=r"^(\w+)_\d")
    prepare(data_config(tmp_path, source, valid_fraction=0.3), tmp_path / "one")
    faces = FaceDataset(tmp_path / "one").faces
    names = [Path(p).stem.split("_")[0] for p in faces.path]
    sides = {name: set(faces.split[[n == name for n in names]].tolist()) for name in people}
    assert all(len(side) == 1 for side in sides.values())
    assert {Split.TRAIN, Split.VALID} == set.union(*sides.values())
    add_face(tmp_path / "in", "A0_0", 900)  # sorts first
    prepare(data_config(tmp_path, source, valid_fraction=0.3), tmp_path / "two")
    later = FaceDataset(tmp_path / "two").faces
    assert {p: s for p, s in zip(later.path, later.split, strict=True) if "A0" not in p} == dict(
        zip(faces.path, faces.split, strict=True)
    )


def test_split_fraction_is_that_of_the_hash() -> None:
    share = np.mean([split_of(f"person:{k}", 0.2, 0) == Split.VALID for k in range(4000)])
    assert share == pytest.approx(0.2, abs=0.02)  # three standard deviations of 4000 draws
    assert {split_of(f"person:{k}", 0.0, 0) for k in range(100)} == {Split.TRAIN}


def test_people_and_images_of_the_test_split_leave_training(tmp_path: Path) -> None:
    add_face(tmp_path / "train", "Ann_0", 0)
    add_face(tmp_path / "train", "Bob_0", 1)
    add_face(tmp_path / "train", "Cy_0", 2)
    add_face(tmp_path / "train", "Cy_1", 2)  # the same image twice
    add_face(tmp_path / "test", "Ann_7", 7)
    add_face(tmp_path / "test", "Dee_0", 1)  # Bob's image under another name
    named = {"identity": r"^(\w+)_\d"}
    config = data_config(tmp_path, ibug("train", **named), ibug("test", split="test", **named))
    report = prepare(config, tmp_path / "out")
    faces = FaceDataset(tmp_path / "out").faces
    assert dict(zip(faces.path, faces.split.tolist(), strict=True)) == {
        "train/images/Cy_0.png": Split.TRAIN,
        "test/images/Ann_7.png": Split.TEST,
        "test/images/Dee_0.png": Split.TEST,
    }
    assert [(o["reason"], o["sentence"]) for o in report["list_left_out"]] == [
        ("person who is in a stricter split", "train/images/Ann_0.png: Ann is a person of the test split"),
        (
            "duplicate of a face in a stricter split",
            "train/images/Bob_0.png: the same image as test/images/Dee_0.png",
        ),
        ("exact duplicate", "train/images/Cy_1.png: the same image as train/images/Cy_0.png"),
    ]


def test_the_faces_of_one_image_share_a_split(tmp_path: Path) -> None:
    # two faces an image, listed as two lines: drawn apart, about half of ten images would stand in both splits
    (tmp_path / "in" / "images").mkdir(parents=True)
    lines = []
    for k in range(10):
        pair = np.concatenate([face_image(2 * k), face_image(2 * k + 1)], axis=1)
        cv2.imwrite(str(tmp_path / "in" / "images" / f"{k}.png"), pair)
        for side in range(2):
            points = face_points(2 * k + side) + [side * face_image(0).shape[1], 0]
            lines.append(f"images/{k}.png," + ",".join(str(v) for v in points.ravel()))
    (tmp_path / "in" / "faces.csv").write_text("\n".join(lines))
    source = SourceConfig(name="c", kind="csv", path="in/faces.csv")
    prepare(data_config(tmp_path, source, valid_fraction=0.5, near_duplicate_distance=0), tmp_path / "out")
    faces = FaceDataset(tmp_path / "out").faces
    splits: dict[str, set[int]] = {}
    for path, split in zip(faces.path.tolist(), faces.split.tolist(), strict=True):
        splits.setdefault(path.split("#")[0], set()).add(split)
    assert len(faces) == 20
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {Split.TRAIN, Split.VALID}


def test_of_two_copies_the_one_labelled_by_people_stays(tmp_path: Path) -> None:
    add_face(tmp_path / "net", "a", 0)
    add_face(tmp_path / "people", "b", 0)
    jpeg = cv2.imencode(".jpg", face_image(0), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    (tmp_path / "people" / "images" / "b.png").unlink()
    (tmp_path / "people" / "images" / "b.jpg").write_bytes(jpeg.tobytes())
    config = data_config(tmp_path, ibug("net", labels="machine"), ibug("people"), near_duplicate_distance=8)
    report = prepare(config, tmp_path / "out")
    assert FaceDataset(tmp_path / "out").faces.path.tolist() == ["people/images/b.jpg"]
    assert report["left_out"] == {"near duplicate": 1}


def test_labels_none_keeps_the_crop_without_points(tmp_path: Path) -> None:
    add_face(tmp_path / "in", "a", 0)
    prepare(data_config(tmp_path, ibug("in", labels="none")), tmp_path / "out")
    faces = FaceDataset(tmp_path / "out").faces
    assert faces.label.tolist() == [LabelSource.NONE]
    assert not faces.point_mask.any()
    assert faces.frame[0, 2] > 15


def test_one_process_and_two_write_the_same_bytes(tmp_path: Path) -> None:
    for seed in range(140):  # two parts
        add_face(tmp_path / "in", f"f{seed:03d}", seed)
    one = data_config(tmp_path, ibug("in"))
    prepare(one, tmp_path / "one")
    prepare(one.model_copy(update={"num_workers": 2}), tmp_path / "two")
    first, second = FaceDataset(tmp_path / "one"), FaceDataset(tmp_path / "two")
    assert first.data_hash == second.data_hash
    shards = [(tmp_path / name / "shard-00000.npy").read_bytes() for name in ("one", "two")]
    assert shards[0] == shards[1]


def test_output_folders_are_never_overwritten_silently(tmp_path: Path) -> None:
    add_face(tmp_path / "in", "a", 0)
    config = data_config(tmp_path, ibug("in"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for more in ({}, {"resume": True}):
        with pytest.raises(PairError, match="new or empty output folder for prepare, found one with other files"):
            prepare(config, mine, **more)
    with pytest.raises(PairError, match=r"found one with other files in it\. Choose another folder, or empty it"):
        prepare(config, mine, overwrite=True)
    assert snapshot(mine) == {"thesis.txt": b"years of work"}
    with pytest.raises(PairError, match="found one inside the data of source 'in'"):
        prepare(config, tmp_path / "in" / "pack")
    assert not (tmp_path / "in" / "pack").exists()


def test_resume_of_a_finished_pack_returns_its_report(tmp_path: Path) -> None:
    add_face(tmp_path / "in", "a", 0)
    config = data_config(tmp_path, ibug("in"))
    report = prepare(config, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    assert prepare(config, tmp_path / "out", resume=True) == report
    other = config.model_copy(update={"pack_size": 64})
    with pytest.raises(PairError, match=r"found one of another configuration\. Choose another folder, or --overwrite"):
        prepare(other, tmp_path / "out", resume=True)
    assert snapshot(tmp_path / "out") == before
    prepare(other, tmp_path / "out", overwrite=True)
    assert FaceDataset(tmp_path / "out").size == 64


@pytest.mark.parametrize(
    ("name", "length", "sentence"),
    [
        (
            "part-00000.npz",
            500,
            r"part-00000\.npz: expected a part of this run, found a truncated file\. Remove it",
        ),
        ("part-00000.npz", 0, r"found an empty file\. Remove it, and run again with --resume"),
        ("part-00000.npy", 5000, r"found a damaged file .*Remove part-00000\.npz beside it, and run again"),
        ("plan.json", 9, "expected the plan of an unfinished run, found damaged JSON"),
    ],
)
def test_a_damaged_part_of_an_interrupted_run(tmp_path: Path, name: str, length: int, sentence: str) -> None:
    add_face(tmp_path / "in", "a", 0)
    config = data_config(tmp_path, ibug("in"))

    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "out", progress=stop)
    damaged = tmp_path / "out/parts" / name
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:length])
    with pytest.raises(PairError, match=sentence):
        prepare(config, tmp_path / "out", resume=True)
    if name.startswith("part"):
        (tmp_path / "out/parts/part-00000.npz").unlink()
        assert prepare(config, tmp_path / "out", resume=True)["faces"] == 1


def test_no_usable_face_is_an_error(tmp_path: Path) -> None:
    add_face(tmp_path / "in", "a", 0, np.full((51, 2), 60.0))
    with pytest.raises(PairError, match="expected at least one usable face, found none: 1 x degenerate face box"):
        prepare(data_config(tmp_path, ibug("in")), tmp_path / "out")


def test_unknown_key_of_a_data_file(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("sources: [{name: a, kind: ibug, path: x, colour: red}]\n")
    with pytest.raises(PairError, match=r"found unknown key 'sources.0.colour'"):
        load_section(DataConfig, "data", str(path))


RUN = """
import sys, time
from pathlib import Path
from pair_fld.config import DataConfig
from pair_fld.data.packing import parts
from pair_fld.data.packing import prepare as stage
if sys.argv[3] == "slow":
    do_part = parts._do_part
    parts._do_part = lambda job: (do_part(job), time.sleep(0.3))
config = DataConfig.model_validate_json(Path(sys.argv[1]).read_text())
stage.prepare(config, Path(sys.argv[2]), resume=True)
"""


def start(config: Path, out: Path, pace: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(config), str(out), pace])


def test_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    for seed in range(8):
        add_face(tmp_path / "in", f"f{seed}", seed)
    lines = []
    for k in range(300):  # three parts out of eight images: the points differ a little on every line
        shift = face_points(k % 8) + k / 100
        lines.append(f"images/f{k % 8}.png," + ",".join(str(v) for v in shift.ravel()))
    (tmp_path / "in" / "faces.csv").write_text("\n".join(lines))
    source = SourceConfig(name="c", kind="csv", path="in/faces.csv", split="test")
    config = data_config(tmp_path, source)
    config_path = tmp_path / "config.json"
    config_path.write_text(json.dumps(config.model_dump(mode="json")))
    prepare(config, tmp_path / "whole")

    broken = tmp_path / "broken"
    process = start(config_path, broken, "slow")
    deadline = time.monotonic() + 60
    while len(list((broken / "parts").glob("part-*.npz"))) < 1:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = len(list((broken / "parts").glob("part-*.npz")))
    assert not (broken / "run.json").exists()
    assert finished < 3
    (broken / "parts" / ".part-00002.1.tmp.npy").write_bytes(b"half")

    with pytest.raises(PairError, match="found an earlier run of prepare"):
        prepare(config, broken)
    other = config.model_copy(update={"pack_size": 64})
    with pytest.raises(PairError, match="expected an unfinished run of this configuration, found one of another"):
        prepare(other, broken, resume=True)
    report = prepare(config, broken, resume=True)
    assert report["time"]["faces_loaded"] == 300 - 128 * finished
    whole = snapshot(tmp_path / "whole")
    resumed = snapshot(broken)
    for name in ("faces.npz", "shard-00000.npy", "sheet-test.png"):
        assert resumed[name] == whole[name]
    assert resumed.keys() == whole.keys()
    assert FaceDataset(broken).data_hash == FaceDataset(tmp_path / "whole").data_hash


def test_interrupted_run_notices_changed_files(tmp_path: Path) -> None:
    add_face(tmp_path / "in", "a", 0, np.full((51, 2), 60.0))  # no usable face: the run stops unfinished
    config = data_config(tmp_path, ibug("in"))
    with pytest.raises(PairError):
        prepare(config, tmp_path / "out")
    add_face(tmp_path / "in", "b", 1)
    with pytest.raises(PairError, match=r"found added, removed or changed files\. Choose another folder, or --over"):
        prepare(config, tmp_path / "out", resume=True)
    assert prepare(config, tmp_path / "out", overwrite=True)["faces"] == 1


def test_synthetic_faces_depend_on_the_seed_only(tmp_path: Path) -> None:
    source = SourceConfig(name="s", kind="synthetic", count=3, seed=5, split="test")
    report = prepare(data_config(tmp_path, source), tmp_path / "a")
    assert (report["test"], report["by_label"]) == (3, {"human": 3, "machine": 0, "none": 0})
    prepare(data_config(tmp_path, source.model_copy(update={"count": 2})), tmp_path / "b")
    first, second = FaceDataset(tmp_path / "a").faces, FaceDataset(tmp_path / "b").faces
    assert second.hash.tolist() == first.hash[:2].tolist()
    assert first.point_mask.all()
    assert len(set(first.hash.tolist())) == 3


def test_real_faces(shared_data: Path, tmp_path: Path) -> None:
    source = ibug("lfpw/valid", split="test")
    report = prepare(data_config(shared_data, source), tmp_path / "out")
    assert (report["test"], report["left_out"]) == (112, {})


def test_stop_while_shards_are_written_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(20):
        add_face(tmp_path / "in", f"f{seed:02d}", seed)
    config = data_config(tmp_path, ibug("in"))
    for module in (stage, pack_module):
        monkeypatch.setattr(module, "SHARD", 6)
    monkeypatch.setattr(parts, "PART", 4)
    prepare(config, tmp_path / "whole")
    replace = os.replace

    def stop_at_third_shard(source: Path, target: Path) -> None:
        if Path(target).name == "shard-00002.npy":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop_at_third_shard)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "broken")
    monkeypatch.setattr(os, "replace", replace)
    crops_left = sorted(p.name for p in (tmp_path / "broken" / "parts").glob("part-*.npy"))
    assert crops_left == ["part-00003.npy", "part-00004.npy"]  # two shards hold faces 0-11, parts 0-2
    report = prepare(config, tmp_path / "broken", resume=True)
    assert report["time"]["faces_loaded"] == 0
    whole, broken = FaceDataset(tmp_path / "whole"), FaceDataset(tmp_path / "broken")
    assert broken.data_hash == whole.data_hash
    np.testing.assert_array_equal(broken.images(np.arange(20)), whole.images(np.arange(20)))
    assert not (tmp_path / "broken" / "parts").exists()
