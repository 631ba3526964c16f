"""What a configuration of data may hold: sources of labels, point schemes, published splits, label conventions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pair_fld.config.base import RECORDED, Count, Processes, Seed, Side, Strict
from pair_fld.config.source_keys import misplaced
from pair_fld.runtime.scheme import NUM_POINTS


class SchemeConfig(Strict):
    """How a data set numbers the points of a face: a file configs/scheme/NAME.yaml.

    points: how many. regions: first and last index of each; point k of the jaw is called jaw_k.
    mirror: pairs that change places in the mirrored face; all other points stay.
    to_51: for the points of each region of the contest's 51, an index, several indices (their mean), or null where the
    scheme has no such point.
    approximate: some of these points are only near the contest's; its labels count as machine-made.
    """

    points: Count = Field(ge=1)
    regions: dict[str, tuple[int, int]]
    mirror: list[tuple[int, int]]
    to_51: dict[str, list[int | list[int] | None]]
    approximate: bool = False


SOURCE_KINDS = Literal[
    "ivslab",
    "ibug",
    "csv",
    "coco",
    "cvat",
    "labelme",
    "imglab",
    "wflw",
    "aflw2000",
    "annotation",
    "ytf",
    "synthetic",
    "unlabelled",
]


_OfEachPoint = Annotated[tuple[tuple[float, float], ...], Field(min_length=NUM_POINTS, max_length=NUM_POINTS)]


class PercentOffset(Strict):
    """An offset that grows with the face: percent of the distance of the outer eye corners, x to the right, y down.

    points: (x, y) of each of the 51 points besides, along the axes of the upright face; percent of the same distance,
    or of what the face's box tells where that is longer.
    """

    percent: tuple[float, float]
    points: _OfEachPoint | None = None


class ReferenceConfig(Strict):
    """What the sources' zero points are compared with: a folder of `pairfld annotate`, and the map of
    `pairfld fit-scheme` that leads from its points to the 51. Paths are relative to the working directory.

    optional: where it is not there, `prepare` says so and goes on with the labels as their files have them.
    """

    labels: str
    scheme: str
    optional: bool = False


class SecondOpinionConfig(Strict):
    """Labels averaged with the reference's answers where the two agree. Bounds in percent of the eye distance.

    weight: of the reference's answer in the mean; the label has the rest.
    agreement: an answer further from its point's label is not used.
    flips: an answer is used where those on the image and on its mirror image are at most so far apart.
    fill_missing: give points that a label lacks the reference's place, where half of its other points agree.
    """

    weight: float = Field(default=0.35, ge=0, le=1)
    agreement: float = Field(default=6.0, gt=0)
    flips: float = Field(default=4.0, gt=0)
    fill_missing: bool = False


class SourceConfig(Strict):
    """One folder, label file or renderer of faces.

    kind: what `path` holds; docs/your-data.md lists the kinds.
    images: where a label file's images are, when not beside it; relative to `root` as `path` is.
    labels: who made them; `none` is trained through a teacher only.
    split: `auto` holds `valid_fraction` of its people back to choose by; `test` faces are only ever measured.
    weight: how often its faces are drawn in training, 1 = once per epoch.
    scheme: a name in configs/scheme, the path of such a file, or an .npz of `pairfld fit-scheme`; by default the usual
    one for 49, 51, 68 or 98 points.
    offset: what to add to the labels: pixels, e.g. [-1, -1] for a source that counts from 1, or {percent: [x, y]} of
    the eye distance; `auto` brings them to the zero point of the data's `reference` when they are packed, `convention`
    also each point to the data's `convention`.
    second_opinion: in place of the data's; `false` for none. Faces to measure on have none in any case.
    relabel: the reference's answers in place of labels; faces without one, or with another on each flip, are left out.
    exif: whether labels refer to the image as an EXIF rotation turns it (apply) or as it is stored (ignore).
    missing: coordinates that mark a point as not labelled, as the file has them.
    max_missing: points that a label may lack beyond those its scheme lacks; more and the face is left out.
    visibility, tags: tables beside the labels, relative to `root`: visibility.csv has one digit per point (0 seen, 1
    behind something, 2 hidden by the head itself), tags one column per attribute; both name the image without suffix
    first.
    """

    name: str = Field(min_length=1)
    kind: SOURCE_KINDS
    path: str | None = None
    images: str | None = None
    labels: Literal["human", "machine", "none"] = "human"
    split: Literal["train", "valid", "test", "auto"] = "auto"
    weight: float = Field(default=1.0, ge=0)
    identity: str | None = None  # regular expression on the file name; group 1 names the person
    scheme: str | None = None
    offset: Literal["keep", "auto", "convention"] | tuple[float, float] | PercentOffset = "keep"
    second_opinion: SecondOpinionConfig | Literal[False] | None = None
    relabel: bool = False
    exif: Literal["apply", "ignore"] = "apply"
    missing: tuple[tuple[float, float], ...] = ((0.0, 0.0), (-1.0, -1.0))
    max_missing: int = Field(default=25, ge=0, le=51)
    visibility: str | None = None
    tags: str | None = None
    box: tuple[float, float, float, float] | None = None  # unlabelled only: face box as fractions of the image
    count: Count = Field(default=0, ge=0)  # synthetic only: faces to render
    seed: Seed = 0  # synthetic only

    @model_validator(mode="after")
    def _has_the_keys_of_its_kind(self, info: ValidationInfo) -> SourceConfig:
        if info.context and info.context.get(RECORDED):
            return self  # earlier versions let such keys pass, and did not use them
        given = [key for key, field in type(self).model_fields.items() if getattr(self, key) != field.default]
        if wrong := misplaced(self.kind, given):
            raise ValueError(f"source {self.name!r}: kind {self.kind} has no `{'`, `'.join(wrong)}`")
        if self.kind == "unlabelled" and self.labels != "none":
            raise ValueError(f"source {self.name!r}: kind unlabelled has no {self.labels} labels; write labels: none")
        return self


class DataConfig(Strict):
    """What `pairfld prepare` packs.

    convention: sources whose annotators say where each point belongs. The mean of their offsets from the `reference`,
    point by point, is added to the reference's answers and wanted by sources with `offset: convention`. Training only:
    `package --convention` places the points of a finished model.
    """

    sources: list[SourceConfig]
    root: str = "."  # source paths are relative to this; itself relative to the working directory
    pack_size: Side = 192  # side of the packed crops, pixels
    pack_margin: float = Field(default=2.2, gt=1, le=10)  # side of a packed crop over the longer side of its box
    valid_fraction: float = Field(default=0.05, ge=0, lt=1)  # of the people (or faces) of `auto` sources
    reference: ReferenceConfig | None = None  # estimates how far each source's labels are shifted
    convention: list[str] = Field(default_factory=list)
    second_opinion: SecondOpinionConfig | None = None  # of the reference, on all labels that are learnt from
    audit: Literal["warn", "drop", "off"] = "warn"  # labels that are not the shape of a face: say so, or leave them out
    near_duplicate_distance: int = Field(default=4, ge=0, le=64)  # Hamming distance of 64-bit image hashes
    seed: Seed = 0
    num_workers: Processes = 0  # loading processes; 0: one per core

    @field_validator("audit", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads a bare off as false

    @model_validator(mode="after")
    def _has_a_convention_where_one_is_wanted(self) -> DataConfig:
        sources = {source.name: source for source in self.sources}
        for name in self.convention:
            source = sources.get(name)
            if source is None:
                raise ValueError(f"convention: there is no source {name!r}; name sources of these data")
            if source.split == "test":
                raise ValueError(f"convention: source {name!r} has split test; name sources that are learnt from")
            if source.labels == "none" or source.relabel:
                raise ValueError(f"convention: source {name!r} has no labels of its own; name labelled sources")
        for source in self.sources:
            if source.offset == "convention" and source.split == "test":
                raise ValueError(f"source {source.name!r}: no `offset: convention` with split test, which is measured")
            if source.offset == "convention" and not self.convention:
                raise ValueError(f"source {source.name!r}: `offset: convention` needs the data's `convention`")
        if self.convention and self.reference is None:
            raise ValueError("convention: needs a `reference` to compare the sources with")
        return self


class LabelVariant(Strict):
    """One way to label the images of a data configuration.

    data: settings in place of the data's. sources: settings in place of those of the sources that are learnt from, by
    name, "*" for all. weights: sampling weights by source; 0 leaves a source out.
    """

    data: dict[str, Any] = Field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)


class LabelAblationConfig(Strict):
    """What `pairfld ablate-labels` compares: a file configs/ablation/NAME.yaml. The first variant is the baseline."""

    variants: dict[str, LabelVariant] = Field(min_length=2)


class ProtocolConfig(Strict):
    """A published split to measure on: a file configs/protocol/NAME.yaml.

    faces: in the split. whole: faces in the data set that it is drawn from. every: it is every such face of them,
    sorted by path, from the first on.
    """

    root: str = "."
    source: SourceConfig
    faces: int = Field(ge=1)
    whole: int = Field(ge=1)
    every: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_a_part(self) -> ProtocolConfig:
        if self.faces > self.whole:
            raise ValueError(f"faces: {self.faces} is more than whole: {self.whole}, of which they are a part")
        return self


class ConventionConfig(Strict):
    """Whose labels a packaged model follows: a file configs/convention/NAME.yaml.

    sources: training faces with these labels, as they stand; weight: how much each source counts.
    """

    root: str = "."
    sources: list[SourceConfig] = Field(min_length=1)
