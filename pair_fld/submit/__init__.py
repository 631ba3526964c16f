"""The submission archive: built, described, held to its budget, and verified in a clean environment."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.submit.archive import ArchiveContents, PackageReport, package, runtime_hash
    from pair_fld.submit.budget import Check, budget_table, model_checks
    from pair_fld.submit.build import ArchiveSpec
    from pair_fld.submit.card import ModelCard, technical_report
    from pair_fld.submit.pdf import write_pdf
    from pair_fld.submit.verify import VerifyReport, verification_images

__all__ = [
    "ArchiveContents",
    "ArchiveSpec",
    "Check",
    "ModelCard",
    "PackageReport",
    "VerifyReport",
    "budget_table",
    "model_checks",
    "package",
    "runtime_hash",
    "technical_report",
    "verification_images",
    "write_pdf",
]

__getattr__ = attach(
    __name__,
    {
        "archive": ["ArchiveContents", "PackageReport", "package", "runtime_hash"],
        "budget": ["Check", "budget_table", "model_checks"],
        "build": ["ArchiveSpec"],
        "card": ["ModelCard", "technical_report"],
        "pdf": ["write_pdf"],
        "verify": ["VerifyReport", "verification_images"],
    },
)
