"""The bounds of a submission: what is checked, the tables that show it, and the refusal when one is broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pair_fld.config import BudgetConfig, Limit
from pair_fld.errors import GateError
from pair_fld.evaluate.report import markdown_table
from pair_fld.export.model_cost import ModelCost

IMAGE_SIDE = 1024  # pixels; the contest's images are about as large


@dataclass(frozen=True)
class Check:
    """One bound: what it limits, the limit, the value found, where the limit comes from."""

    name: str
    limit: str
    value: str
    passed: bool
    source: str


def model_checks(costs: Mapping[str, ModelCost], budget: BudgetConfig) -> list[Check]:
    """The bounds of the landmark model, costs["model.tflite"]; the face detector is not part of them."""
    model = costs["model.tflite"]
    return [
        _bound("model size, MB", model.size_mb, budget.model_mb, 3),
        _bound("model GFLOPs per face", model.gflops, budget.gflops, 4),
        _bound("model parameters, million", model.params / 1e6, budget.params_m, 3),
    ]


def archive_check(archive_mb: float, budget: BudgetConfig) -> Check:
    """The bound of the whole zip file."""
    return _bound("archive size, MB", archive_mb, budget.archive_mb, 2)


def files_check(names: Iterable[str], budget: BudgetConfig) -> Check:
    """Whether all required files are among the archive's."""
    missing = sorted(set(budget.required_files) - set(names))
    found = f"missing: {', '.join(missing)}" if missing else "complete"
    needed = f"{len(budget.required_files)} files"
    return Check("required files", needed, found, not missing, "what the grader and its reader need")


def _bound(name: str, value: float, limit: Limit, digits: int) -> Check:
    return Check(name, f"<= {limit.max:g}", f"{value:.{digits}f}", value <= limit.max, limit.source)


def refuse_broken(checks: Sequence[Check], out_zip: Path) -> None:
    """GateError with a table of all checks when one failed."""
    if all(check.passed for check in checks):
        return
    width = max(len(check.name) for check in checks)
    lines = [
        f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<{width}}  {check.value}  (limit {check.limit})"
        for check in checks
    ]
    raise GateError(f"{out_zip} was not written, its budget is broken:\n" + "\n".join(lines))


def budget_table(
    costs: Mapping[str, ModelCost], checks: Sequence[Check], budget: BudgetConfig, views: int, refine: int
) -> str:
    """Markdown: the checks, then the cost of each file and of one whole image.

    Args:
        views: views that the face detector looks at first in an image of `IMAGE_SIDE` pixels.
        refine: refinement passes of the landmark model per face.
    """
    bounds = markdown_table(
        ("check", "value", "limit", "", "source of the limit"),
        [(c.name, c.value, c.limit, "pass" if c.passed else "FAIL", c.source) for c in checks],
    )
    detector, model = costs["detector.tflite"], costs["model.tflite"]
    body = [_cost_row(file, cost.size_mb, cost.params, cost.macs) for file, cost in costs.items()]
    files = (model.size_mb + detector.size_mb, model.params + detector.params)
    body.append(_cost_row("model + detector, one run each", *files, model.macs + detector.macs))
    macs = (views + 1) * detector.macs + (1 + refine) * model.macs
    body.append(_cost_row(f"one {IMAGE_SIDE} x {IMAGE_SIDE} image with one face", *files, macs))
    note = (
        "GFLOPs are 2 x multiply-adds of the convolutions and fully connected layers, divided by 10^9. The face "
        f"detector looks at {views} views of such an image at first (at more where these leave nothing certain) and "
        "runs once more on each face that it sees there; the landmark model "
        f"runs {1 + refine} x per face. The archive as a whole was held to {budget.archive_mb.max:g} MB when it was "
        f"written ({budget.archive_mb.source}).\n"
    )
    return f"{bounds}\n{markdown_table(('file', 'MB', 'parameters', 'GFLOPs'), body)}\n{note}"


def _cost_row(name: str, size_mb: float, params: int, macs: int) -> tuple[str, ...]:
    return (name, f"{size_mb:.3f}", f"{params}", f"{2 * macs / 1e9:.4f}")
