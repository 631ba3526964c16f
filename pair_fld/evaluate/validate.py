"""Any model on any labelled faces: crops cut from the images themselves by the labelled box, then scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.dataset import SPLITS, FaceDataset, Split
from pair_fld.data.load_face import load_crop
from pair_fld.data.sample import Crop, Excluded, Sample, SkipSample
from pair_fld.data.sources.listing import list_samples
from pair_fld.data.sources.usual import usual_source
from pair_fld.errors import PairError
from pair_fld.evaluate.report import Result, evaluate
from pair_fld.evaluate.text_files import match_texts
from pair_fld.evaluate.visibility import NOT_STATED
from pair_fld.models.checkpoint import load_model as load_checkpoint_model
from pair_fld.models.layers import folded
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime import session
from pair_fld.runtime.frame import frame_from_row, frame_matrix
from pair_fld.runtime.geometry import from_norm, invert, transform_points, warp
from pair_fld.runtime.landmark_files import read_faces
from pair_fld.runtime.metadata import model_metadata, normalise
from pair_fld.runtime.scheme import NUM_POINTS

BATCH = 32
TEXT_CROP, TEXT_MARGIN = 64, 1.45  # any crop will do where only the checked labels are wanted


class Predictor(Protocol):
    """What a landmark model of any kind offers; `runtime.session.Model` is one."""

    input_size: int
    margin: float

    def predict(self, crops: np.ndarray) -> np.ndarray:
        """(B, S, S, 3) uint8 BGR crops to (B, 51, 2) crop pixels."""
        ...


@runtime_checkable
class Locator(Protocol):
    """A Predictor that knows how its heatmaps are spread; `runtime.session.Model` is one."""

    def locate(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """`predict`, and the spreads (B, 51) in crop pixels along one axis, None without heatmaps."""
        ...


def locate(model: Predictor, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Predictions, and spreads where the model has any."""
    return model.locate(crops) if isinstance(model, Locator) else (model.predict(crops), None)


class TorchModel:
    """A checkpoint's network (its EMA weights, branches folded) as a Predictor; what is exported is its `net`."""

    def __init__(self, path: Path) -> None:
        net, self.state = load_checkpoint_model(path)
        self.net = folded(net)
        self.input_size, self.margin = self.net.config.input_size, self.net.config.margin

    def predict(self, crops: np.ndarray) -> np.ndarray:
        return self.locate(crops)[0]

    @torch.inference_mode()
    def locate(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """As `runtime.session.Model.locate`."""
        metadata = model_metadata(self.input_size, self.margin, self.net.output_kind)
        x = torch.from_numpy(normalise(crops, metadata)).permute(0, 3, 1, 2)
        raw = self.net(x)
        points = from_norm(self.net.points(raw).numpy(), self.input_size).astype(np.float32)
        return points, session.decode(raw.float().numpy(), metadata)[1]


def label_shift_of(model: Predictor) -> np.ndarray:
    """(51, 2) crop pixels that a model adds for its label convention; zeros for one that has none."""
    return getattr(model, "label_shift", np.zeros((NUM_POINTS, 2)))


def open_model(path: Path, threads: int = 1) -> Predictor:
    """A checkpoint (.pt), .onnx or .tflite as a Predictor; PairError naming what was expected."""
    if path.suffix.lower() == ".pt":
        return TorchModel(path)
    try:
        return session.load_model(path, threads)
    except (OSError, ValueError) as error:
        raise PairError(path, "a model (.pt, .onnx, .tflite)", str(error), "Check the path.") from None


@dataclass(frozen=True)
class Truth:
    """Labelled faces to measure on: what is listed, and the configuration that says how to read it.

    passed_over: how many files and folders of the sources were no data, by reason.
    """

    config: DataConfig
    samples: list[Sample]
    left_out: list[Excluded]
    passed_over: Counter[str] = field(default_factory=Counter)


def labelled_faces(config: DataConfig, split: str = "test") -> Truth:
    """The labelled sources of a data configuration that are of the given split.

    Raises:
        PairError: there is none, or as `list_samples`.
    """
    chosen = [s for s in config.sources if s.split == split and s.labels != "none"]
    if not chosen:
        remedy = "Add such a source to the data configuration, or measure with pairfld validate --images FOLDER."
        raise PairError("data configuration", f"a labelled source with split: {split}", "none", remedy)
    return listed_truth(config.model_copy(update={"sources": chosen}))


def labelled_folder(folders: Sequence[Path]) -> Truth:
    """Folders or label files of any kind that a source may have, told apart by `usual_source`."""
    sources = []
    for folder in folders:
        if not folder.exists():
            raise PairError(folder, "a folder of labelled images, or a label file", "none", "Check --images.")
        name = "/".join(part for part in folder.parts[-2:] if part != folder.anchor)
        usual = usual_source(folder)
        if usual.note:
            raise PairError(folder, "labelled images", usual.note, "Name the label file itself.")
        kind = "ibug" if usual.kind == "unlabelled" else usual.kind  # whose reader says what an image lacks
        entry = {"name": name, "kind": kind, "path": str(usual.path.absolute()), "split": "test"}
        sources.append(SourceConfig.model_validate(entry))
    return listed_truth(DataConfig(sources=sources, root=str(Path.cwd())))


def listed_truth(config: DataConfig) -> Truth:
    """All faces of a data configuration. Raises as `list_samples`."""
    listed = list_samples(config)
    return Truth(config, listed.samples, listed.left_out, sum(listed.passed_over, Counter()))


def validate_model(
    model: Predictor,
    truth: Truth,
    progress: Progress = no_progress,
    adjust: Callable[[np.ndarray, list[Sample], list[Crop]], np.ndarray] | None = None,
) -> tuple[Result, list[Excluded]]:
    """Score a model on crops by the labels' frames; also what could not be read.

    All errors are ratios of lengths in one crop, so they equal those in image pixels.

    Args:
        adjust: changes the predictions (B, 51, 2) _crop of some faces, whose samples and crops it is given.
    """
    predicted, points, valid, kept, visibility, spreads = [], [], [], [], [], []
    left_out = list(truth.left_out)
    for samples, crops in load_crops(truth, model.input_size, model.margin, left_out):
        located, spread = locate(model, np.stack([c.image for c in crops]))
        predicted.append(located if adjust is None else adjust(located, samples, crops))
        spreads.append(spread)
        visibility += [stated_visibility(*pair) for pair in zip(samples, crops, strict=True)]
        points.extend(c.points for c in crops)
        valid.extend(c.point_mask for c in crops)
        kept.extend(samples)
        progress(len(kept) + len(left_out), len(truth.samples) + len(truth.left_out))
    if not kept:
        raise PairError("the labelled faces", "at least one that can be read", "none", left_out[0].sentence)
    known = [spread for spread in spreads if spread is not None]
    result = score_faces(
        truth, np.concatenate(predicted), np.stack(points), np.stack(valid), kept, np.stack(visibility),
        np.concatenate(known) if known else None,
    )  # fmt: skip
    return result, left_out


def stated_visibility(sample: Sample, crop: Crop) -> np.ndarray:
    """(51,) of a face, NOT_STATED where its source says nothing of it."""
    stated = sample.visibility is not None
    return crop.visibility.astype(np.int8) if stated else np.full(len(crop.visibility), NOT_STATED, np.int8)


def cut(dataset: FaceDataset, rows: np.ndarray, model: Predictor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test-time crops of packed faces: (n, S, S, 3) uint8, points (n, 51, 2) _crop, valid (n, 51)."""
    images, faces, size = dataset.images(rows), dataset.faces, model.input_size
    matrices = [frame_matrix(frame_from_row(row), size, model.margin) for row in faces.frame[rows]]
    crops = np.stack([warp(image, matrix, size) for image, matrix in zip(images, matrices, strict=True)])
    points = np.stack([transform_points(m, p) for m, p in zip(matrices, faces.points[rows], strict=True)])
    return crops, points, faces.point_mask[rows]


def validate_dataset(model: Predictor, dataset: FaceDataset, split: Split, progress: Progress = no_progress) -> Result:
    """Score a model on the labelled faces of a dataset's split, cut from the packed crops."""
    rows = dataset.indices(split, labelled=True)
    if not len(rows):
        remedy = "Prepare data with such faces (valid_fraction, split)."
        raise PairError(dataset.folder, f"labelled faces of the split {SPLITS[split]}", "none", remedy)
    predicted, points, valid, spreads = [], [], [], []
    for start in range(0, len(rows), BATCH):
        crops, truth, mask = cut(dataset, rows[start : start + BATCH], model)
        located, spread = locate(model, crops)
        predicted.append(located)
        spreads.append(spread)
        points.append(truth)
        valid.append(mask)
        progress(min(start + BATCH, len(rows)), len(rows))
    faces = dataset.faces
    names = [dataset.config.sources[k].name for k in faces.source[rows]]
    known = [spread for spread in spreads if spread is not None]
    # a dataset does not say which sources state visibility: those do that have a hidden point
    stated = np.isin(faces.source, np.unique(faces.source[faces.visibility.any(axis=1)]))
    visibility = np.where(stated[:, None], faces.visibility.astype(np.int8), NOT_STATED)[rows]
    return evaluate(
        np.concatenate(predicted), np.concatenate(points), np.concatenate(valid), names, faces.path[rows].tolist(),
        visibility, np.concatenate(known) if known else None,
    )  # fmt: skip


def validate_texts(
    folder: Path, truth: Truth, progress: Progress = no_progress, note: Callable[[str], None] | None = None
) -> tuple[Result, list[Excluded]]:
    """Score a folder of contest text files (one per image, see `match_texts`); of several faces the nearest one counts.

    A missing or empty file, or one without this face, is a missed face: its error is infinite.

    Args:
        note: is told in a sentence how many images have no text, and texts no image.
    """
    predicted, points, valid, kept, visibility = [], [], [], [], []
    left_out = list(truth.left_out)
    texts = match_texts(folder, truth.samples)
    if note is not None:
        for sentence in texts.notes:
            note(sentence)
    text_of = dict(zip(map(id, truth.samples), texts.paths, strict=True))
    for samples, crops in load_crops(truth, TEXT_CROP, TEXT_MARGIN, left_out):
        for sample, crop in zip(samples, crops, strict=True):
            points_img = transform_points(invert(crop.matrix), crop.points)
            predicted.append(_nearest(text_of[id(sample)], points_img, crop.point_mask))
            points.append(points_img)
            valid.append(crop.point_mask)
            visibility.append(stated_visibility(sample, crop))
            kept.append(sample)
        progress(len(kept) + len(left_out), len(truth.samples) + len(truth.left_out))
    if not kept:
        raise PairError("the labelled faces", "at least one that can be read", "none", left_out[0].sentence)
    found = score_faces(truth, np.stack(predicted), np.stack(points), np.stack(valid), kept, np.stack(visibility))
    return found, left_out


def _nearest(path: Path | None, truth_img: np.ndarray, valid: np.ndarray) -> np.ndarray:
    missed = np.full((51, 2), np.nan)
    if path is None:
        return missed
    try:
        faces = read_faces(path)
    except (OSError, ValueError) as error:
        raise PairError(path, "contest text", str(error), "Write it again.") from None
    for face in faces:
        if face.shape != (51, 2):
            raise PairError(path, "51 points per face", f"{len(face)}", "Write it again.")
    if not faces:
        return missed
    return min(faces, key=lambda face: float(np.abs(face - truth_img)[valid].mean()))


def load_crops(
    truth: Truth, size: int, margin: float, left_out: list[Excluded]
) -> Iterator[tuple[list[Sample], list[Crop]]]:
    """Batches of loaded crops in the listed order, decoded ahead in threads; unreadable ones go to `left_out`."""

    def load(sample: Sample) -> Crop | Excluded:
        try:
            return load_crop(sample, truth.config.sources[sample.source], size, margin)
        except SkipSample as skip:
            return Excluded(sample.key, sample.source, skip.reason, skip.sentence)

    todo = iter(truth.samples)
    with ThreadPoolExecutor(2) as readers:
        ahead = [(s, readers.submit(load, s)) for s in islice(todo, 2 * BATCH)]
        while ahead:
            batch, ahead = ahead[:BATCH], ahead[BATCH:]
            ahead += [(s, readers.submit(load, s)) for s in islice(todo, BATCH)]
            loaded = [(s, future.result()) for s, future in batch]
            left_out += [c for _, c in loaded if isinstance(c, Excluded)]
            good = [(s, c) for s, c in loaded if isinstance(c, Crop)]
            if good:
                yield [s for s, _ in good], [c for _, c in good]


def score_faces(
    truth: Truth,
    predicted: np.ndarray,
    points: np.ndarray,
    valid: np.ndarray,
    kept: list[Sample],
    visibility: np.ndarray,
    spreads: np.ndarray | None = None,
) -> Result:
    """Scores of the kept samples; arrays as `report.evaluate`'s."""
    names = [truth.config.sources[s.source].name for s in kept]
    return evaluate(predicted, points, valid, names, [s.key for s in kept], visibility, spreads)
