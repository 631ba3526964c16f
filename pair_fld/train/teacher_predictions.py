"""Teacher predictions on the whole dataset: computed once per face and teacher, averaged over views, and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from pair_fld.data.annotations import is_annotator
from pair_fld.data.annotator_convention import annotator_sha256, convention_of_dataset, convention_sources
from pair_fld.data.dataset import FaceDataset, LabelSource
from pair_fld.errors import PairError
from pair_fld.io import atomic_path, file_hash, write_json
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_model
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.frame import fit_frames
from pair_fld.runtime.scheme import NUM_POINTS
from pair_fld.train.annotator_teacher import NO_PREDICTION, annotator_predictions
from pair_fld.train.distributed import Distributed, pick_device
from pair_fld.train.predict_dataset import LandmarkPredictions, predict_dataset


def teacher_id(teachers: Sequence[Path], dataset: FaceDataset) -> str:
    """How a student's record names its teachers: their sha256, joined by + when there are several.

    An annotator's covers the sources that the dataset's convention is learnt from: its predictions follow from them.
    """
    return "+".join(sorted(_sha256(path, dataset) for path in teachers))


def _sha256(teacher: Path, dataset: FaceDataset) -> str:
    if not is_annotator(teacher):
        return file_hash(teacher)
    text = "\n".join([annotator_sha256(teacher), *convention_sources(dataset)])
    return hashlib.sha256(text.encode()).hexdigest()


def teacher_predictions(
    teachers: Sequence[Path],
    dataset: FaceDataset,
    cache: Path,
    *,
    views: int = 2,
    device: str = "auto",
    progress: Progress = no_progress,
) -> LandmarkPredictions:
    """The teachers' predictions on the whole dataset, from the cache where they are there.

    A student's targets are these predictions warped with its views. Points and covariances warp exactly, so unlike
    cached heatmaps this loses nothing except the teacher's response to augmentation. Several teachers are one mixture:
    where they disagree, it is uncertain.

    Args:
        teachers: their checkpoints, or folders of `pairfld annotate` (see `annotator_teacher`).
        dataset: the faces.
        cache: folder of the cached predictions, one file per teacher; beside an annotator's lies how its answers were
            brought to the dataset's convention.
        views: views of each face that are averaged, see `predict_dataset`.
        device: see `pick_device`.
        progress: called with the number of faces done.

    Raises:
        PairError: a teacher is no checkpoint.
    """
    torch_device = pick_device(device)
    distributed = Distributed.init(torch_device)
    every = []
    for teacher in teachers:
        path = _cache_path(_sha256(teacher, dataset), dataset, cache, views)
        if not distributed.broadcast(_read(path, len(dataset)) is not None):
            if is_annotator(teacher):
                reference, convention = convention_of_dataset(teacher, dataset)
                predictions = annotator_predictions(reference, dataset, progress)
                if distributed.is_main:
                    write_json(path.with_suffix(".json"), convention.to_json())
            else:
                model = load_model(teacher)[0].to(torch_device)
                predictions = _predict_all(model, dataset, views, distributed, progress)
            if distributed.is_main:
                with atomic_path(path) as temporary, temporary.open("wb") as stream:
                    np.savez(stream, **vars(predictions))
            distributed.barrier()
        predictions = _read(path, len(dataset))
        if predictions is None:
            raise PairError(path, "the cached predictions of a teacher", "a file that changed", "Start again.")
        every.append(predictions)
    return mixture(every)


def cached_predictions(teachers_id: str, dataset: FaceDataset, cache: Path, views: int) -> LandmarkPredictions | None:
    """The cached predictions of the teachers of a `teacher_id`; None when some are missing or damaged."""
    paths = [_cache_path(sha256, dataset, cache, views) for sha256 in teachers_id.split("+")]
    every = [predictions for path in paths if (predictions := _read(path, len(dataset))) is not None]
    return mixture(every) if len(every) == len(paths) else None


def mixture(predictions: Sequence[LandmarkPredictions]) -> LandmarkPredictions:
    """Several predictions as one: their mean, and the covariance of their mixture.

    A teacher that has none of a face (its deviation there is the whole crop) leaves it to the others.
    """
    if len(predictions) == 1:
        return predictions[0]
    known = np.stack([p.sigma.min(axis=1) < NO_PREDICTION for p in predictions])
    known[:, ~known.any(axis=0)] = True
    share = (known / known.sum(axis=0)).astype(np.float32)
    points = np.sum([p.points * w[:, None, None] for p, w in zip(predictions, share, strict=True)], axis=0)
    covariance = np.zeros_like(predictions[0].covariance)
    for one, weight in zip(predictions, share, strict=True):
        off = one.points - points
        covariance += (one.covariance + off[..., :, None] * off[..., None, :]) * weight[:, None, None, None]
    return LandmarkPredictions(points, covariance, np.mean([p.side for p in predictions], axis=0))


def _predict_all(
    model: LandmarkNet, dataset: FaceDataset, views: int, distributed: Distributed, progress: Progress
) -> LandmarkPredictions:
    """Predictions on all faces; twice on unlabelled ones, since the first crop is cut by a guessed frame."""
    predictions = _predict_shard(model, dataset, np.arange(len(dataset)), None, views, distributed, progress)
    unlabelled = np.flatnonzero(dataset.faces.label == LabelSource.NONE)
    if len(unlabelled):
        frames = fit_frames(predictions.points[unlabelled], dataset.faces.frame[unlabelled])
        second = _predict_shard(model, dataset, unlabelled, frames, views, distributed, no_progress)
        for column, values in zip(vars(predictions).values(), vars(second).values(), strict=True):
            column[unlabelled] = values
    return predictions


def _predict_shard(
    model: LandmarkNet,
    dataset: FaceDataset,
    indices: np.ndarray,
    frames: np.ndarray | None,
    views: int,
    distributed: Distributed,
    progress: Progress,
) -> LandmarkPredictions:
    """Each process predicts its shard of `indices`; all processes get all predictions."""
    shard, device = distributed.shard(len(indices)), next(model.parameters()).device
    own_frames = None if frames is None else frames[shard]
    part = predict_dataset(model, dataset, indices[shard], views=views, amp=True, frames=own_frames, progress=progress)
    return LandmarkPredictions(*(distributed.all_gather(v, len(indices), device) for v in vars(part).values()))


def _read(path: Path, count: int) -> LandmarkPredictions | None:
    """The cached predictions on `count` faces; None for a file that is missing, damaged or something else."""
    shapes = {"points": (count, NUM_POINTS, 2), "covariance": (count, NUM_POINTS, 2, 2), "side": (count,)}
    try:
        with np.load(path, allow_pickle=False) as stored:
            columns = {f.name: stored[f.name] for f in fields(LandmarkPredictions)}
    except Exception:  # of zip, zlib, numpy or memory: damaged bytes make the reader raise anything
        return None
    fits = all(columns[name].shape == shape and columns[name].dtype.kind == "f" for name, shape in shapes.items())
    return LandmarkPredictions(**columns) if fits and all(np.isfinite(c).all() for c in columns.values()) else None


def _cache_path(sha256: str, dataset: FaceDataset, cache: Path, views: int) -> Path:
    # "answers" for the sake of caches that earlier versions made
    return cache / f"answers-{sha256[:12]}-{dataset.data_hash[:12]}-{views}.npz"
