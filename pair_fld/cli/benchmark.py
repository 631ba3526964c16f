"""`pairfld benchmark`: the group of the measuring verbs."""

from __future__ import annotations

import typer

from pair_fld.cli.benchmark_detectors import detectors
from pair_fld.cli.benchmark_devices import devices
from pair_fld.cli.benchmark_inference import inference
from pair_fld.cli.benchmark_models import models
from pair_fld.cli.benchmark_tracking import tracking
from pair_fld.cli.benchmark_training import training


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Measure speed, size and accuracy, side by side.")
    for verb in (models, training, detectors, inference, devices, tracking):
        group.command(verb.__name__)(verb)
    app.add_typer(group, name="benchmark")
