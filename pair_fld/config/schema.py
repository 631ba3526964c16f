"""What a configuration of training, export and packaging may hold: one frozen model per section, every key with its
unit and its bounds. Data: `config.data`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pair_fld.config.base import Count, Fraction, Processes, Seed, Side, Strict, Weight
from pair_fld.config.data import DataConfig
from pair_fld.outputs import is_plain_name


class AugmentConfig(Strict):
    """Batch augmentation. Angles in degrees, shifts and scales as fractions of the crop; sigmas of normals.

    `detector` multiplies the deviations of the detector's frames, which `pairfld prepare` measures; views are drawn
    from these, widened by rotation, scale and shift.
    """

    flip: float = Field(default=0.5, ge=0, le=1)
    rotation: float = Field(default=15.0, ge=0, le=180)
    scale: Fraction = 0.07
    shift: Fraction = 0.04
    detector: float = Field(default=1.0, ge=0)
    photometric: float = Field(default=0.7, ge=0, le=1)  # probability of brightness, contrast, gamma, colour changes
    grey: float = Field(default=0.1, ge=0, le=1)
    blur: float = Field(default=0.2, ge=0, le=1)
    blur_sigma: float = Field(default=1.6, ge=0.5, le=8)  # of the strongest blur, pixels of the crop
    noise: float = Field(default=0.2, ge=0, le=1)
    occlude: float = Field(default=0.3, ge=0, le=1)


class ModelConfig(Strict):
    """A network: `arch` names it in the registry, `options` are its own keyword arguments."""

    arch: str
    input_size: Side = 96
    margin: float = Field(default=1.45, gt=1, le=10)
    options: dict[str, Any] = Field(default_factory=dict)


class TrainConfig(Strict):
    """Optimisation. `losses` maps a term of pair_fld.train.loss_terms to its weight.

    A step updates the weights once, from batch_size x grad_accumulation faces in each process.
    """

    epochs: Count = Field(ge=1)
    steps_per_epoch: Count = Field(default=0, ge=0)  # 0: as many as the faces fill
    batch_size: Count = Field(default=64, ge=1)
    grad_accumulation: Count = Field(default=1, ge=1)  # batches whose gradients a step sums; batch norm sees each alone
    lr: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0, le=10_000)
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    grad_clip: float = Field(default=5.0, gt=0)
    amp: bool = True  # bfloat16 autocast
    seed: Seed = 0
    threads: Processes = 0  # 0: leave torch's choice
    checkpoint_minutes: float = Field(default=2.0, gt=0)
    losses: dict[str, Weight] = Field(min_length=1)
    # sampling weights of sources by name, in place of those in the data's configuration
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    # weight of a labelled point that is hidden, where its source says so. Labels of hidden points scatter 1.6 to 1.9
    # times as far around a reference's answers as those of seen ones, and a weight goes by the square of that
    hidden_points: float = Field(default=0.3, ge=0)
    augment: AugmentConfig = AugmentConfig()


class DistillConfig(Strict):
    """How a student uses its teacher's predictions. Standard deviations in percent of the crop's side.

    half_weight_sigma: standard deviation at which a teacher prediction gets weight 0.5.
    machine_labels: weight of machine-made labels beside a teacher (human labels have weight 1).
    fill_max_sigma: a missing label is filled with the teacher's prediction, weighted as a machine-made label, where
    the prediction's standard deviation is below this; 0 fills none.
    unlabelled: train on faces without labels too, with the teacher's predictions as targets.
    teacher_views: views of each face that the teacher predicts on: every second one mirrored, from the third on
    rotated and scaled a little. Their mean is the prediction; their disagreement adds to its variance.
    teacher_mode: `cached` predictions are computed once per face. `per_step` also runs the teacher on every batch as
    the student sees it, and `kd_l2` compares with those heatmaps. Terms that need `per_step` switch it on.
    """

    half_weight_sigma: float = Field(default=3.0, gt=0)
    machine_labels: float = Field(default=0.25, ge=0)
    fill_max_sigma: float = Field(default=0.0, ge=0)
    unlabelled: bool = True
    teacher_views: int = Field(default=2, ge=1, le=10)
    teacher_mode: Literal["cached", "per_step"] = "cached"


class StageConfig(Strict):
    """A model and how it is trained; `distill` is used by `pairfld distill` only."""

    model: ModelConfig
    train: TrainConfig
    distill: DistillConfig = DistillConfig()


class ParetoConfig(Strict):
    """A study of accuracy against latency: a file configs/pareto/NAME.yaml. The first value of each list is the base.

    vary: `each` takes the base and one change at a time, `all` every combination.
    stages: of the base net, see `models.nets`; widths and depths multiply their channels and blocks.
    placements: where the blocks lie. `given`: as `stages` says; `early`: one moves from the last stage to the first, at
    a higher resolution; `late`: one moves from the first to the last. A stage keeps one block: if it has no other, the
    next stage gives one.
    neck: channels of the layer before the head. train: of every point, for `steps` steps; each head adds its own loss.
    """

    steps: Count = Field(ge=1)
    stages: list[tuple[int, int, int, int]] = Field(min_length=1)
    neck: int = Field(default=64, ge=8)
    vary: Literal["each", "all"] = "each"
    input_sizes: list[Side] = Field(default=[96], min_length=1)
    widths: list[Annotated[float, Field(gt=0, le=8)]] = Field(default=[1.0], min_length=1)
    depths: list[Annotated[float, Field(gt=0, le=8)]] = Field(default=[1.0], min_length=1)
    heads: list[Literal["heatmap", "simcc", "coordinate"]] = Field(default=["heatmap"], min_length=1)
    blocks: list[Literal["depthwise", "branched", "dense"]] = Field(default=["depthwise"], min_length=1)
    placements: list[Literal["given", "early", "late"]] = Field(default=["given"], min_length=1)
    train: TrainConfig
    calibration_images: Count = Field(default=128, ge=1)


class QatConfig(Strict):
    """Quantization-aware fine-tuning (`pairfld quantize --qat`); losses, views and batch size are the student's own."""

    steps: Count = Field(default=200, ge=1)
    lr: float = Field(default=3e-5, gt=0)


class QuantConfig(Strict):
    """What `pairfld quantize` writes and how the int8 ranges are found.

    decode: `in-graph` writes each file a second time with its decoding inside, for an app that wants no code of ours.
    """

    precisions: list[Literal["fp32", "fp16", "int8-static", "int8-weights"]] = Field(default=["fp32", "int8-static"])
    formats: list[Literal["onnx", "tflite"]] = Field(default=["onnx", "tflite"])
    method: Literal["auto", "minmax", "entropy", "percentile"] = "auto"
    calibration_images: Count = Field(default=256, ge=1)
    tflite_input: Literal["float32", "uint8"] = "float32"
    decode: Literal["runtime", "in-graph"] = "runtime"
    release: Literal["fp32", "fp16", "int8-static", "int8-weights"] = "int8-static"
    max_fp32_drift_px: float = Field(default=1e-3, gt=0)  # torch = ONNX = TFLite, worst point, crop pixels
    max_nme_loss: float = Field(default=0.15, gt=0)  # percentage points that int8 may lose (outer corners)
    max_drift_px: float = Field(default=8.0, gt=0)  # worst int8 point against float, crop pixels
    qat: QatConfig = QatConfig()  # used with --qat only

    @model_validator(mode="after")
    def _releases_what_it_makes(self) -> QuantConfig:
        for key, values in (("precisions", self.precisions), ("formats", self.formats)):
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: [{', '.join(values)}] names one twice")
        if self.release not in self.precisions or "tflite" not in self.formats:
            raise ValueError(f"release: {self.release} needs {self.release} in precisions and tflite in formats")
        return self


Width = Annotated[int, Field(ge=1, le=4096)]  # channels of a layer


class DetectorConfig(Strict):
    """The project's own face detector (`pairfld train-detector`): net, optimisation, and training images.

    widths: channels at strides 2, 4, 8, 16, 32.
    images_per_source, valid_images_per_source: images of each source at most, training and validation split.
    synthetic_images: rendered images with faces. negative_images: drawn images without; as many parts of training
    images beside their faces, and half as many with their blocks mixed, are added.
    mining_rounds: how often training stops to look for false detections, which it then shows again. mining_views:
    random views per round. hard_negatives: false detections kept per round at most, those with the highest scores.
    """

    input_size: int = Field(default=128, ge=64, le=4096, multiple_of=32)
    widths: tuple[Width, Width, Width, Width, Width] = (12, 20, 32, 48, 64)
    steps: Count = Field(ge=1)
    batch_size: Count = Field(default=64, ge=1)
    lr: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    amp: bool = False  # bfloat16 autocast
    threads: Processes = 0  # 0: leave torch's choice
    seed: Seed = 0
    images_per_source: Count = Field(default=1200, ge=1)
    valid_images_per_source: Count = Field(default=120, ge=1)
    synthetic_images: Count = Field(default=300, ge=0)
    negative_images: Count = Field(default=600, ge=1)
    mining_rounds: Count = Field(default=0, ge=0)
    mining_views: Count = Field(default=4000, ge=1)
    hard_negatives: Count = Field(default=800, ge=1)
    calibration_images: Count = Field(default=256, ge=1)


class Limit(Strict):
    """An upper bound and where its number comes from."""

    max: float = Field(gt=0)
    source: str


class BudgetConfig(Strict):
    """Limits that `pairfld package` holds the archive to. MB = 10^6 bytes, GFLOPs = 2 x multiply-adds / 10^9."""

    model_mb: Limit
    archive_mb: Limit
    params_m: Limit
    gflops: Limit
    required_files: list[str]


class RecipeConfig(Strict):
    """One whole reproduction."""

    name: str  # also the name of the folder below runs/
    data: DataConfig
    teacher: StageConfig
    student: StageConfig
    quant: QuantConfig = QuantConfig()
    budget: BudgetConfig

    @field_validator("name")
    @classmethod
    def _stays_in_its_folder(cls, name: str) -> str:
        if not is_plain_name(name):
            raise ValueError(f"name: {name!r} is no name of a folder")
        return name
