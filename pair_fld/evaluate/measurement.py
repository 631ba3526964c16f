"""One call of `pairfld validate`: what is measured on which faces, its report, its gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

from pair_fld.data.annotations import is_annotator
from pair_fld.data.annotator_convention import AnnotatorConvention, convention_of_dataset, own_convention
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.sample import NO_LABELS, Excluded
from pair_fld.data.second_opinion import Reference
from pair_fld.data.sources.files import passed_over_sentence
from pair_fld.errors import GateError, PairError
from pair_fld.evaluate import validate
from pair_fld.evaluate.annotations import validate_annotations
from pair_fld.evaluate.disturbed_frames import DisturbedScore, detector_covariance, disturbed_scores
from pair_fld.evaluate.ensemble import MirrorAverage, ModelAverage, ViewAverage, towards_annotator
from pair_fld.evaluate.protocol import Protocol
from pair_fld.evaluate.report import Result, ced_plot, write_csv
from pair_fld.evaluate.slices import SliceScore, slice_scores
from pair_fld.io import read_json, write_json
from pair_fld.outputs import MAX_NAME_BYTES, shortened
from pair_fld.progress import Progress, Say
from pair_fld.runs import RECORD, provenance

NORMALISER = "outer_corners"  # of the gates
_NUMBER_BYTES = 16  # of a folder's name, for what tells it from others


@dataclass(frozen=True)
class MeasurementSpec:
    """What is measured.

    Attributes:
        models: model files whose predictions are averaged, among them at most one folder of `pairfld annotate`; or one
            folder alone, of contest text files or of pairfld annotate.
        images: folders of images with .pts labels, or .csv tables, that the user named; else the recipe's faces count.
        faces: lists the labelled faces.
        dataset: the packed folder, for `split` valid of the recipe's faces; an annotator is brought to its convention.
        flip: average the predictions on each crop and on its mirror image.
        threads: of the model runtime.
        protocol: the published split whose faces these are.
        disturbed: also measure on crops whose frames are off as a detector's are.
        slices: also measure on disturbed copies: dark, soft, occluded, turned, small.
        views: views of each face whose predictions are averaged, see `ensemble.ViewAverage`.
    """

    models: tuple[Path, ...]
    images: tuple[Path, ...]
    faces: Callable[[], validate.Truth]
    dataset: Path
    split: Literal["test", "valid"] = "test"
    flip: bool = False
    threads: int = 2
    protocol: Protocol | None = None
    disturbed: bool = False
    slices: bool = False
    views: int = 1

    @property
    def name(self) -> str:
        """The models, as the user named them."""
        return " + ".join(map(str, self.models))

    @property
    def inputs(self) -> list[Path]:
        """Everything that is read."""
        return [*self.models, *self.images, self.dataset]

    @property
    def annotators(self) -> list[Path]:
        """Those of `models` that are folders of `pairfld annotate`."""
        return [path for path in self.models if is_annotator(path)]

    def record(self) -> dict[str, Any]:
        """The settings, as the report keeps them."""
        record = {"model": self.name, "flip": self.flip, "images": [str(p) for p in self.images], "split": self.split}
        record |= {"views": self.views} if self.views > 1 else {}
        record |= {name: True for name in ("disturbed", "slices") if getattr(self, name)}
        return record | ({"protocol": self.protocol.name} if self.protocol else {})

    def check(self) -> None:
        """PairError for a model that is not there, or options that a folder of text files has no use for."""
        for path in self.models:
            if not path.exists():
                remedy = "Check the path, or run pairfld quantize."
                raise PairError(path, "a model or a folder of .txt files", "no such file", remedy)
        folders = [path for path in self.models if path.is_dir()]
        if self.annotators and len(self.annotators) == len(folders) == 1 and not self.models[0].is_dir():
            if self.split == "valid" and not self.images:
                remedy = "Name images, or leave the option out."
                message = f"--split valid measures models alone, and {folders[0]} is an annotator's."
                raise PairError("--split valid", message=message, remedy=remedy)
            if self.disturbed or self.slices:
                message = f"--disturbed and --slices measure models alone, and {folders[0]} is an annotator's."
                raise PairError("--disturbed, --slices", message=message, remedy="Leave one of them out.")
            return
        if (self.disturbed or self.slices) and (folders or (self.split == "valid" and not self.images)):
            option = "--disturbed" if self.disturbed else "--slices"
            remedy = f"Name images, or leave {option} out."
            raise PairError(option, "a model and whole images", "texts or packed crops", remedy)
        if folders and (
            self.flip or self.views > 1 or len(self.models) > 1 or (self.split == "valid" and not self.images)
        ):
            remedy = "Leave the option out."
            raise PairError(folders[0], "a model for --ensemble, --flip, --views or --split valid", "a folder", remedy)

    def own_folder(self, reports: Path) -> Path:
        """A folder below `reports` for this measurement: named after the models, with a number where another
        measurement has the name."""
        name = "+".join(f"{path.absolute().parent.name}-{path.name}" for path in self.models)
        name = shortened(name, MAX_NAME_BYTES - _NUMBER_BYTES)
        folders = (reports / (name if number == 1 else f"{name}-{number}") for number in count(1))
        return next(folder for folder in folders if self._may_replace(folder))

    def _may_replace(self, folder: Path) -> bool:
        record = folder / RECORD
        return not record.is_file() or read_json(record, "the record of a measurement").get("config") == self.record()


@dataclass(frozen=True)
class Measurement:
    """The scores, what could not be scored, and how an annotator's answers were moved before they were averaged."""

    spec: MeasurementSpec
    result: Result
    left_out: list[Excluded]
    disturbed: tuple[DisturbedScore, ...] = ()
    slices: tuple[SliceScore, ...] = ()
    convention: AnnotatorConvention | None = None

    @property
    def measured_faces(self) -> int:
        """Faces with an error under `NORMALISER`."""
        return self.result.overall[NORMALISER].faces

    @property
    def labelled_faces(self) -> int:
        """Faces that have labels, measured or not."""
        return self.result.faces + sum(entry.reason != NO_LABELS for entry in self.left_out)

    def to_json(self) -> dict[str, Any]:
        """metrics.json of the report."""
        tree = {
            "model": self.spec.name, "flip": self.spec.flip, "labelled_faces": self.labelled_faces,
            **self.result.to_json(), "left_out": [vars(entry) for entry in self.left_out],
        }  # fmt: skip
        if self.disturbed:
            tree["disturbed_frames"] = [asdict(score) for score in self.disturbed]
        if self.slices:
            tree["slices"] = [asdict(score) for score in self.slices]
        if self.convention is not None:
            tree["annotator_convention"] = self.convention.to_json()
        if (protocol := self.spec.protocol) is not None:
            found = len(protocol.truth.samples)
            tree["protocol"] = {"name": protocol.name, "faces": protocol.faces, "found_faces": found}
        return tree

    def write(self, folder: Path) -> None:
        """run.json, metrics.json, faces.csv and ced.png."""
        write_json(folder / RECORD, provenance(self.spec.record()))
        write_json(folder / "metrics.json", self.to_json())
        write_csv(self.result, folder / "faces.csv")
        ced_plot({" + ".join(path.name for path in self.spec.models): self.result}, folder / "ced.png")

    def check(self, max_nme: float | None, min_measured: float) -> None:
        """GateError when the NME is above `max_nme`, or rests on fewer than `min_measured` percent of the faces."""
        if max_nme is None:
            return
        nme, measured, labelled = self.result.overall[NORMALISER].nme_percent, self.measured_faces, self.labelled_faces
        if 100 * measured < min_measured * labelled:
            raise GateError(
                f"{self.spec.name}: {measured} of {labelled} labelled faces were measured, fewer than the "
                f"{min_measured:g} % of --min-measured; their NME (outer corners) is {nme:.3f} %"
            )
        if not nme <= max_nme:
            raise GateError(f"{self.spec.name}: NME (outer corners) {nme:.3f} % is above the bound of {max_nme:g} %")


def measure(spec: MeasurementSpec, progress: Progress, say: Say) -> Measurement:
    """Measure; PairError as `MeasurementSpec.check`, or when there is no face or a file cannot be used."""
    if is_annotator(spec.models[0]):
        return Measurement(spec, *validate_annotations(spec.models[0], _truth(spec, say), progress))
    if spec.models[0].is_dir():
        return Measurement(spec, *validate.validate_texts(spec.models[0], _truth(spec, say), progress, say))
    model = _model(spec)
    if spec.split == "valid" and not spec.images:
        return Measurement(spec, validate.validate_dataset(model, FaceDataset(spec.dataset), Split.VALID, progress), [])
    truth = _truth(spec, say)
    adjust = convention = None
    if spec.annotators:
        reference, convention = _annotator(spec, say)
        adjust = partial(towards_annotator, annotator=reference)
    result, left_out = validate.validate_model(model, truth, progress, adjust)
    scores: tuple[DisturbedScore, ...] = ()
    if spec.disturbed:
        scores = disturbed_scores(model, truth, detector_covariance(spec.models[0], spec.dataset))
    slices = slice_scores(model, truth) if spec.slices else ()
    return Measurement(spec, result, left_out, scores, slices, convention)


def _annotator(spec: MeasurementSpec, say: Say) -> tuple[Reference, AnnotatorConvention | None]:
    """The annotator in the convention of the workspace's dataset; in its own where there is no dataset."""
    folder = spec.annotators[0]
    if not (spec.dataset / RECORD).is_file():
        say(f"{folder}: its answers stay in its own convention, since {spec.dataset} holds no dataset")
        return own_convention(folder), None
    reference, convention = convention_of_dataset(folder, FaceDataset(spec.dataset))
    say(f"{folder}: {convention}")
    return reference, convention


def _model(spec: MeasurementSpec) -> validate.Predictor:
    """The models as one. Those of equal crops are averaged on them, as ever; others, and views, on a wider crop."""
    models = [validate.open_model(path, spec.threads) for path in spec.models if path not in spec.annotators]
    if spec.views > 1 or len({(model.input_size, model.margin) for model in models}) > 1:
        return ViewAverage(models, max(spec.views, 2 if spec.flip else 1))
    model = models[0] if len(models) == 1 else ModelAverage(models)
    return MirrorAverage(model) if spec.flip else model


def _truth(spec: MeasurementSpec, say: Say) -> validate.Truth:
    truth = spec.faces()
    if sentence := passed_over_sentence(truth.passed_over):
        say(sentence)
    return truth
