"""What all sections share: strictness, and bounds of common kinds of value."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Base of every section: immutable, finite numbers, unknown keys are errors, no silent conversions of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


Seed = Annotated[int, Field(ge=0, lt=2**63)]  # what numpy and torch both take
Processes = Annotated[int, Field(ge=0, le=1024)]  # or threads
Side = Annotated[int, Field(ge=32, le=4096)]  # of a square crop, pixels
Count = Annotated[int, Field(le=10**9)]  # of faces, images or steps
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
RECORDED = "recorded"  # in the context of a validation: the settings are those of an earlier run
