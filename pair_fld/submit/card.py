"""The texts of an archive: model card and technical report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import NORMALISERS, THRESHOLDS
from pair_fld.evaluate.report import GroupScores, figure, markdown_table
from pair_fld.export.quantization.formats import precision_of
from pair_fld.report.style import Plate

RESEARCH_NOTICE = (
    "Research use only. The training images come from data sets whose terms allow research and not "
    "commerce; weights learnt from them carry the same limit. The code is under the MIT licence."
)
SYNTHETIC_NOTICE = (
    "Trained on rendered faces only: no photograph of a person was used. The shape prior comes from "
    "landmark coordinates of a research data set. The code is under the MIT licence."
)
LIMITS = (
    "Made for one face per crop, turned upright by its frame; profiles have larger errors than frontal faces.",
    "Occluded points are guessed.",
    "The face detector misses some faces that are very small, turned far or cut by more than half.",
    "Errors differ between groups of people as far as the training data are unbalanced; they were not "
    "measured by age, sex or skin tone.",
    "Not a tool for identifying people and not for decisions about them.",
)


@dataclass(frozen=True)
class DataRow:
    """One source of training data as the card lists it; faces per split."""

    name: str
    kind: str
    labels: str
    train_faces: int
    valid_faces: int
    test_faces: int
    weight: float


@dataclass(frozen=True)
class ModelCard:
    """What a card states.

    Attributes:
        name: of the archive.
        metadata: of the released .tflite.
        data: sources of the training data; None when they were not recorded.
        training: sentences on teacher, student, versions and hashes; empty when they were not recorded.
        scores: by group of faces; empty when nothing was measured.
        budget_table: Markdown.
        remarks: further limits.
        figures: titles of the figures of `report.pdf`.
    """

    name: str
    metadata: Mapping[str, Any]
    data: tuple[DataRow, ...] | None
    training: tuple[str, ...]
    scores: Mapping[str, GroupScores]
    budget_table: str
    remarks: tuple[str, ...]
    figures: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: str, metadata: Mapping[str, Any], record: Mapping[str, Any] | None,
        scores: Mapping[str, GroupScores], budget_table: str, remarks: Sequence[str] = (),
    ) -> ModelCard:  # fmt: skip
        """The card of a model with a run record: provenance, `config` (a recipe), `data_report` (of prepare).

        Raises:
            PairError: the record lacks a figure that the card states.
        """
        try:
            data = None if record is None else tuple(data_rows(record))
            training = () if record is None else tuple(training_lines(record))
        except KeyError as error:
            remedy = "Train and package again with this version."
            raise PairError("run record", f"an entry {error} for the model card", "none", remedy) from None
        return cls(name, metadata, data, training, scores, budget_table, tuple(remarks))

    def markdown(self) -> str:
        """The card as Markdown: what the model is, data, training, figures, limits, licence."""
        size, margin = self.metadata["input"]["size"], self.metadata["crop"]["margin"]
        photographs = self.data is None or any(row.kind != "synthetic" for row in self.data)
        sections = [
            f"# {self.name}",
            "51 facial landmarks (the inner points of the iBUG 68-point scheme) of every face in an image, "
            "for the PAIR competition (IEEE ICME 2024). `run_model.py` detects the faces, this model places the "
            "points.",
            "## Input and output",
            f"- Input: {size} x {size} BGR crop, the square of {margin:g} times the size of the face "
            "frame (`runtime/frame.py`), turned upright.\n"
            f"- Output: {self.metadata['output']['kind']}, decoded by `runtime/session.py` into crop pixels.\n"
            f"- Points: {_convention(self.metadata)}.\n{_runner(self.metadata)}"
            f"- Weights: {_weights(self.metadata)}.",
            "## Data",
            "Not recorded." if self.data is None else _data_table(self.data),
            "## Training",
            "\n".join(f"- {line}" for line in self.training) or "Not recorded.",
            "## Measured",
            score_table(self.scores) if self.scores else "Not measured.",
            "NME: mean distance of the points from the labels over the named normaliser. FR: share of faces "
            "above the threshold. AUC: area under the cumulative error distribution up to the threshold, 1 is "
            "best. Shift removed: after the labels of each source were moved to the predictions' zero point.",
            region_table(self.scores),
            f"Drawn in `report.pdf`: {'; '.join(self.figures)}." if self.figures else "",
            "## Cost",
            self.budget_table,
            "## Limits",
            "\n".join(f"- {line}" for line in (*LIMITS, *self.remarks)),
            "## Licence",
            RESEARCH_NOTICE if photographs else SYNTHETIC_NOTICE,
        ]
        return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def data_rows(record: Mapping[str, Any]) -> list[DataRow]:
    """The sources of a record: faces from record["data_report"], weights from record["config"], where those of the
    student's training come before the data's; KeyError if absent."""
    config = record["config"]
    weights = {source["name"]: source["weight"] for source in config["data"]["sources"]}
    weights |= config["student"]["train"].get("source_weights", {}) if "student" in config else {}
    return [
        DataRow(
            *(s["name"], s["kind"], s["labels"], s["train"], s["valid"], s["test"]),
            weight=weights[s["name"]],
        )
        for s in record["data_report"]["sources"]
    ]


def training_lines(record: Mapping[str, Any]) -> list[str]:
    """Teacher, student, versions and hashes of a record, as sentences; KeyError for a record without them.

    The teacher is absent where the student had none; commit, seed and data hash are where they are None.
    """
    lines = []
    for stage in ("teacher", "student"):
        if stage in record["config"]:
            model, train = record["config"][stage]["model"], record["config"][stage]["train"]
            losses = ", ".join(f"{term} x {weight:g}" for term, weight in train["losses"].items())
            lines.append(
                f"{stage}: {model['arch']}, {model['input_size']} x {model['input_size']}, {train['epochs']} epochs, "
                f"batch {train['batch_size']}, learning rate {train['lr']:g}, losses {losses}"
            )
    lines += annotator_lines(record)
    for key, label, trained in (
        ("commit", "code", "trained_at_commit"),
        ("data_hash", "data hash", "trained_data_hash"),
        ("seed", "seed", ""),
        ("python", "Python", ""),
    ):
        now, then = record[key], record.get(trained)
        if now is not None:
            lines.append(f"{label}: {now}" + (f" when packed, {then} when trained" if then not in (None, now) else ""))
    lines.append("packages: " + ", ".join(f"{name} {version}" for name, version in sorted(record["packages"].items())))
    return lines


def annotator_lines(record: Mapping[str, Any]) -> list[str]:
    """Whose labels the model learnt from, where an annotator made them, with the annotator's own warning."""
    sources: dict[tuple[str, str], list[str]] = {}  # what an annotator did, and what is said of it -> names of sources
    for source in record["data_report"]["sources"]:
        if source.get("annotator"):
            averaged = (source.get("second_opinion") or {}).get("averaged_points", 0)
            what = "averaged into the labels of" if averaged else "the labels of"
            sources.setdefault((what, _about(source["annotator"])), []).append(source["name"])
    lines = [f"{what} {', '.join(names)}: {about}" for (what, about), names in sources.items()]
    return lines + [f"the teacher's predictions: {_about(about)}" for about in record.get("annotators", ())]


def _about(about: Mapping[str, Any]) -> str:
    end = f" {about['warning']}" if about.get("warning") else ""
    return f"{about.get('title', 'an annotator')}, {about.get('licence', 'licence unknown')}.{end}"


def score_table(scores: Mapping[str, GroupScores]) -> str:
    """Markdown table of the scores of each group of faces under each normaliser."""
    headings = ["measured on", "faces", "normaliser", "NME %", "shift removed"]
    headings += [f"FR {t:.2f} %" for t in THRESHOLDS] + [f"AUC {t:.2f}" for t in THRESHOLDS]
    body = []
    for name, group in scores.items():
        for normaliser in NORMALISERS:
            one = group.scores[normaliser]
            row = [name, str(one.faces), normaliser, figure(one.nme_percent, 2)]
            row.append(figure(group.shift_removed_percent, 2) if normaliser == "outer_corners" else "")
            row += [figure(one.failure_percent[t], 2) for t in THRESHOLDS]
            row += [figure(one.auc_fraction[t], 4) for t in THRESHOLDS]
            body.append(row)
    return markdown_table(headings, body)


def region_table(scores: Mapping[str, GroupScores]) -> str:
    """Markdown table of the outer-corner NME by region, one column per group that was measured by region."""
    columns = {name: group.regions for name, group in scores.items() if group.regions}
    if not columns:
        return ""
    regions = list(dict.fromkeys(region for values in columns.values() for region in values))
    body = [
        [region, *(figure(values[region]["outer_corners"], 2) for values in columns.values())] for region in regions
    ]
    return markdown_table(["region, NME % (outer corners)", *columns], body)


def _data_table(data: Sequence[DataRow]) -> str:
    headings = ("source", "kind", "labels by", "train faces", "valid faces", "test faces", "weight")
    body = [
        (r.name, r.kind, r.labels, str(r.train_faces), str(r.valid_faces), str(r.test_faces), f"{r.weight:g}")
        for r in data
    ]
    return markdown_table(headings, body)


def _convention(metadata: Mapping[str, Any]) -> str:
    """Whose labels the points follow, in words."""
    entry = metadata.get("convention")
    if entry is None:
        return "neutral, between the data sets that the model learnt from"
    own = "each point its own" if entry["per_point"] else "one for all points"
    nme = entry["cross_validated_nme_outer_corners_percent"]
    return (
        f"as the labels of {entry['name']} lie, by a mean shift ({own}) that was learnt on {entry['faces']} training "
        f"faces and is added to the model's points (`runtime/label_convention.py`); on faces that the shift did not "
        f"see it takes NME (outer corners) from {nme['neutral']:.2f} to {min(nme['common'], nme['per_point']):.2f} %"
    )


def _runner(metadata: Mapping[str, Any]) -> str:
    """A line on what `run_model.py` does unless told otherwise, where that differs from what it does by itself."""
    search = metadata.get("search", {})
    parts = [f"turned views {search['turned']}"] if "turned" in search else []
    if "smallest" in search:
        parts.append(f"faces from {100 * search['smallest']:g} % of the image's longer side upward")
    if "min_score" in search:
        parts.append(f"scores from {search['min_score']:g} upward")
    if "refine" in metadata["crop"]:
        parts.append(f"refinement passes: {metadata['crop']['refine']}")
    return f"- `run_model.py` without options: {'; '.join(parts)}.\n" if parts else ""


def _weights(metadata: Mapping[str, Any]) -> str:
    """The released file's precision and calibration in words."""
    precision = precision_of(metadata, "model.tflite")
    if precision is None:
        return "as in the checkpoint"
    text, record = precision, metadata["quantization"]
    if "method" in record:
        text += f", activation ranges by {record['method']} on {record['calibration_images']} training crops "
        text += f"(sha256 {record['calibration_sha256'][:12]}...)"
    return text


def _detector_name(calibration: Mapping[str, Any]) -> str:
    blazeface = str(calibration.get("detector", "")).startswith("blazeface")
    return "MediaPipe's BlazeFace" if blazeface else "trained by this project"


def technical_report(
    name: str, card: str, sizes: Mapping[str, int], calibration: Mapping[str, Any], figures: Sequence[Plate] = ()
) -> str:
    """The technical report as Markdown: how the archive works, then the card's figures.

    Args:
        name: of the archive.
        card: Markdown.
        sizes: bytes of each file of the archive.
        calibration: metadata["crop"]["detector_calibration"].
        figures: shown before the card.
    """
    shift, growth, roll = (calibration["covariance"][k][k] ** 0.5 for k in (0, 2, 3))
    sections = [
        f"# Technical report: {name}",
        "## From an image to landmarks",
        f"The face detector ({_detector_name(calibration)}) looks at the whole image and overlapping tiles, and where "
        "that leaves nothing certain at finer tiles and at turned views. It runs a second time on each face "
        "that it sees there, upright and scaled to the size that it detects best. Its key points give the face a "
        f"frame: centre, size and roll; on training faces the centre is off by {100 * shift:.1f} % of the face's "
        f"size along an axis, the size by {100 * growth:.1f} % and the roll by {roll:.1f} degrees (standard "
        "deviations). The landmark "
        "model runs on the upright square crop of the frame, and its points return to the image through the inverse "
        "of the crop's matrix. What both networks tell of a face becomes its score; faces below the least score are "
        "left out. Several faces are written from the image's right to its left; an image without a face gets an "
        "empty file.",
        "Usage: `pip install -r requirements.txt`, then `python run_model.py IMAGE_LIST OUTPUT_DIR`. It "
        "runs in ai-edge-litert or tflite-runtime, whichever is installed.",
        "## Archive",
        markdown_table(("file", "bytes"), list(_file_rows(sizes))),
        "\n\n".join(["## Figures", *(_shown(plate) for plate in figures)]) if figures else "",
        card.replace("\n# ", "\n## ").replace(f"# {name}", "## Model card", 1),
    ]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def _file_rows(sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """A row per file; those of a folder share one."""
    folders: dict[str, list[int]] = {}
    for file, size in sizes.items():
        folder, _, name = file.rpartition("/")
        folders.setdefault(f"`{folder}/`" if folder else f"`{name}`", []).append(size)
    for name, parts in folders.items():
        yield name + (f", {len(parts)} files" if name.endswith("/`") else ""), str(sum(parts))


def _shown(plate: Plate) -> str:
    """A figure with its title and caption below it, where no page break parts them, from a PNG of its name."""
    return f"![{plate.title}]({plate.name}.png)\n\n**{plate.title}.** {plate.caption}"
