"""The texts of an archive: model card, budget report, technical report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pair_fld.evaluate.metrics import NORMALISERS, THRESHOLDS
from pair_fld.evaluate.report import markdown_table

RESEARCH_NOTICE = (
    "Research use only. The training pictures come from data sets whose terms allow research and not "
    "commerce; weights learnt from them carry the same limit. The code is under the MIT licence."
)
SYNTHETIC_NOTICE = (
    "Trained on rendered faces only: no photograph of a person was used. The shape prior comes from "
    "landmark coordinates of a research data set. The code is under the MIT licence."
)
LIMITS = (
    "Made for one upright face in a crop; heads turned by more than about 60 degrees, or rolled by more "
    "than about 30, are outside what it was trained for.",
    "Occluded points are guessed; there is no visibility and no confidence in the output.",
    "The face finder misses faces narrower than about a twentieth of the picture's longer side and faces "
    "that are cut by more than half; what it takes for a face gets landmarks, face or not.",
    "Errors differ between groups of people as far as the training data are unbalanced; they were not "
    "measured by age, sex or skin tone.",
    "Not a tool for identifying people and not for decisions about them.",
)


@dataclass(frozen=True)
class DataRow:
    """One source of training data as the card lists it."""

    name: str
    kind: str
    labels: str
    train_faces: int | None
    valid_faces: int | None
    test_faces: int | None
    weight: float


def data_rows(record: Mapping[str, Any]) -> list[DataRow]:
    """The sources of a record: counts as `pairfld prepare` reported them (record["data_report"]["sources"]),
    weights from the recipe (record["config"]["data"]["sources"])."""
    weights = {s["name"]: s.get("weight", 1.0) for s in record.get("config", {}).get("data", {}).get("sources", [])}
    return [
        DataRow(
            name=s["name"],
            kind=s["kind"],
            labels=s["labels"],
            train_faces=s.get("train"),
            valid_faces=s.get("valid"),
            test_faces=s.get("test"),
            weight=weights.get(s["name"], 1.0),
        )
        for s in record.get("data_report", {}).get("sources", [])
    ]


def metric_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of `Result.to_json()` trees by name of the set measured."""
    headings = ["measured on", "faces", "normaliser", "NME %"]
    headings += [f"FR {t:.2f} %" for t in THRESHOLDS] + [f"AUC {t:.2f}" for t in THRESHOLDS]
    body = []
    for name, tree in metrics.items():
        for n in NORMALISERS:
            row = [name, str(tree.get("faces", "")), n, _figure(tree.get(f"nme_{n}_percent"), 2)]
            row += [_figure(tree.get(f"failure_at_{t:.2f}_{n}_percent"), 2) for t in THRESHOLDS]
            row += [_figure(tree.get(f"auc_at_{t:.2f}_{n}_fraction"), 4) for t in THRESHOLDS]
            body.append(row)
    return markdown_table(headings, body)


def region_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of the outer-corner NME by region, one column a set."""
    metrics = {name: tree for name, tree in metrics.items() if tree.get("regions")}
    regions = list(dict.fromkeys(r for tree in metrics.values() for r in tree.get("regions", {})))
    body = [
        [
            r,
            *(
                _figure(tree.get("regions", {}).get(r, {}).get("nme_outer_corners_percent"), 2)
                for tree in metrics.values()
            ),
        ]
        for r in regions
    ]
    return markdown_table(["region, NME % (outer corners)", *metrics], body)


def _figure(value: float | int | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def model_card(
    name: str,
    metadata: Mapping[str, Any],
    record: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    budget_table: str,
    *,
    remarks: Sequence[str] = (),
) -> str:
    """The model card as Markdown: what it is, data, training, figures, limits, licence.

    Args:
        metadata: of the shipped .tflite. record: configuration and provenance (see `data_rows`,
        `training_lines`).
        metrics: `Result.to_json()` by set. budget_table: Markdown.
    """
    size, margin = metadata["input"]["size"], metadata["crop"]["margin"]
    data = data_rows(record)
    photographs = not data or any(row.kind != "synthetic" for row in data)
    parts = [
        f"# {name}",
        "51 facial landmarks (the inner points of the iBUG 68-point scheme) of every face in a picture, "
        "for the PAIR competition (IEEE ICME 2024). `run_model.py` finds the faces, this model places the "
        "points.",
        "## Input and output",
        f"- Input: {size} x {size} BGR crop, the square of {margin:g} times the longer side of the "
        "51-point box.\n"
        f"- Output: {metadata['output']['kind']}, decoded by `runtime/session.py` into crop pixels.\n"
        f"- Weights: {metadata.get('quantization', metadata.get('kind', 'as in the file'))}.",
        "## Data",
        _data_table(data) if data else "Not recorded.",
        "## Training",
        "\n".join(f"- {line}" for line in training_lines(record)) or "Not recorded.",
        "## Measured",
        metric_table(metrics) if metrics else "Not measured.",
        "NME: mean distance of the points from the labels over the named normaliser. FR: share of faces "
        "above the threshold. AUC: area under the cumulative error distribution up to the threshold, 1 is "
        "best.",
        region_table(metrics) if metrics else "",
        "## Cost",
        budget_table,
        "## Limits",
        "\n".join(f"- {line}" for line in (*LIMITS, *remarks)),
        "## Licence",
        RESEARCH_NOTICE if photographs else SYNTHETIC_NOTICE,
    ]
    return "\n\n".join(p.strip() for p in parts if p.strip()) + "\n"


def _data_table(data: Sequence[DataRow]) -> str:
    headings = ("source", "kind", "labels by", "train faces", "valid faces", "test faces", "weight")
    body = [
        (
            *(r.name, r.kind, r.labels),
            *(_figure(n, 0) for n in (r.train_faces, r.valid_faces, r.test_faces)),
            f"{r.weight:g}",
        )
        for r in data
    ]
    return markdown_table(headings, body)


def training_lines(record: Mapping[str, Any]) -> list[str]:
    """Teacher, student, versions and hashes of a record as sentences; what is missing is left out."""
    lines = []
    config = record.get("config", {})
    for stage in ("teacher", "student"):
        if stage in config:
            model, train = config[stage]["model"], config[stage]["train"]
            lines.append(
                f"{stage}: {model['arch']}, {model['input_size']} x {model['input_size']}, "
                f"{train['epochs']} epochs, batch {train['batch_size']}, learning rate {train['lr']:g}, "
                "losses " + ", ".join(f"{k} x {v:g}" for k, v in train["losses"].items())
            )
    for key, label in (
        ("commit", "code"),
        ("data_hash", "data hash"),
        ("seed", "seed"),
        ("python", "Python"),
    ):
        if record.get(key) is not None:
            lines.append(f"{label}: {record[key]}")
    packages = record.get("packages") or {}
    if packages:
        lines.append("packages: " + ", ".join(f"{k} {v}" for k, v in sorted(packages.items())))
    return lines


def _finder(policy: Mapping[str, Any]) -> str:
    return "MediaPipe's BlazeFace" if str(policy.get("detector", "")).startswith("blazeface") else "this project's own"


def technical_report(
    name: str, card: str, contents: Sequence[tuple[str, int]], policy: Mapping[str, Any], ced: bool
) -> str:
    """The technical report as Markdown: how the archive works, then the card's figures.

    Args:
        contents: (file, bytes) of the archive. policy: crop.from_detector. ced: whether ced.png is there to
        show.
    """
    offset, scale = policy["offset"], policy["scale"]
    sections = [
        f"# Technical report: {name}",
        "## How a picture is answered",
        f"The face finder ({_finder(policy)}) searches the whole picture and overlapping "
        "tiles; each candidate is looked at a second time at the size the network knows best. Its box "
        f"becomes a 51-point box: the centre moves by ({offset[0]:+.3f}, {offset[1]:+.3f}) and the size is "
        f"multiplied by ({scale[0]:.3f}, {scale[1]:.3f}), in units of the box, means learnt on training "
        "data. The landmark model sees the square crop, and its points return to the picture through the "
        "inverse of the crop's matrix. Several faces are written from the picture's right to its left; "
        "none is an empty file.",
        "Usage: `pip install -r requirements.txt`, then `python run_model.py IMAGE_LIST OUTPUT_DIR`. It "
        "runs in ai-edge-litert or tflite-runtime, whichever is installed.",
        "## Archive",
        markdown_table(("file", "bytes"), [(file, f"{size}") for file, size in contents]),
        "## Cumulative error distribution\n\n![CED](ced.png)" if ced else "",
        card.replace("\n# ", "\n## ").replace(f"# {name}", "## Model card", 1),
    ]
    return "\n\n".join(s.strip() for s in sections if s.strip()) + "\n"
