"""Programs of other people that label faces, each in an environment of its own, and what is made of their labels.

Nothing of theirs is imported here: they are called through the contest's interface, run_model.py IMAGE_LIST OUTPUT_DIR.
"""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.annotators.annotator import Annotator, open_annotator
    from pair_fld.annotators.audit import Audit, audit_dataset
    from pair_fld.annotators.environment import CallError, cached_environment
    from pair_fld.annotators.fit_scheme import FitReport

__all__ = [
    "Annotator",
    "Audit",
    "CallError",
    "FitReport",
    "audit_dataset",
    "cached_environment",
    "open_annotator",
]

__getattr__ = attach(
    __name__,
    {
        "annotator": ["Annotator", "open_annotator"],
        "audit": ["Audit", "audit_dataset"],
        "environment": ["CallError", "cached_environment"],
        "fit_scheme": ["FitReport"],
    },
)
