"""Measuring predictions against labels: metrics, reports, validation of model files."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.evaluate.metrics import (
        NORMALISERS,
        THRESHOLDS,
        auc,
        ced,
        failure_rate,
        nme,
        nme_outer_corners,
        point_errors,
        region_nme,
    )
    from pair_fld.evaluate.report import (
        GroupScores,
        Result,
        Scores,
        ced_plot,
        markdown,
        markdown_table,
        tables,
        write_csv,
    )
    from pair_fld.evaluate.validate import Truth, labelled_faces, labelled_folder, open_model, validate_model

__all__ = [
    "NORMALISERS",
    "THRESHOLDS",
    "GroupScores",
    "Result",
    "Scores",
    "Truth",
    "auc",
    "ced",
    "ced_plot",
    "failure_rate",
    "labelled_faces",
    "labelled_folder",
    "markdown",
    "markdown_table",
    "nme",
    "nme_outer_corners",
    "open_model",
    "point_errors",
    "region_nme",
    "tables",
    "validate_model",
    "write_csv",
]

__getattr__ = attach(
    __name__,
    {
        "metrics": [
            "NORMALISERS",
            "THRESHOLDS",
            "auc",
            "ced",
            "failure_rate",
            "nme",
            "nme_outer_corners",
            "point_errors",
            "region_nme",
        ],
        "report": ["GroupScores", "Result", "Scores", "ced_plot", "markdown", "markdown_table", "tables", "write_csv"],
        "validate": ["Truth", "labelled_faces", "labelled_folder", "open_model", "validate_model"],
    },
)
