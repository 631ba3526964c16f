"""Training of the project's own face detector on another detector's detections, labels and rendered scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pair_fld.config import DetectorConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.source_images import read_source_images, source_image_count
from pair_fld.data.synthetic import render_scene
from pair_fld.evaluate.matching import match_boxes
from pair_fld.face_detector.net import STRIDE, DetectorNet
from pair_fld.face_detector.views import View, draw_view, shrunk, target_map
from pair_fld.progress import Progress
from pair_fld.runtime.centre_detector import CENTRE_UNIT, SIZE_UNIT
from pair_fld.runtime.frame import place
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.metadata import PIXEL_MEAN, PIXEL_STD
from pair_fld.runtime.search import SearchingDetector
from pair_fld.train.batches import StepData
from pair_fld.train.distributed import pick_device
from pair_fld.train.resume import ResumeRules
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.train_step import OptimizerSpec, TrainState, TrainStep
from pair_fld.train.trainer import Reporter, Trainer, TrainJob

KIND, STAGE = "detector", "train-detector"  # in run.json; in the run folder's marker
STEPS_PER_EPOCH = 100  # one row of metrics.csv
RULES = ResumeRules(DetectorConfig, learning=("lr", "steps"), running=("threads",))

CERTAIN = 0.65  # score from which the teacher's detection counts as a face; below, the loss leaves its place out
FOCUS = 2.0  # gamma of the focal loss (Lin et al., ICCV 2017)
SCENE_SEED = 11


def training_images(
    dataset: FaceDataset, teacher: SearchingDetector, config: DetectorConfig, report: Progress
) -> list[View]:
    """Training images with the teacher's boxes, brought to 51-point boxes, and the labelled ones in their place.

    Args:
        teacher: should give detections of low scores too, so that doubtful places are known.
    """
    assert teacher.calibration is not None, teacher.name
    images = list[View]()
    total = source_image_count(dataset, Split.TRAIN, config.images_per_source, labelled=False)
    for source in read_source_images(dataset, Split.TRAIN, config.images_per_source, labelled=False):
        found = teacher.detect(source.image)
        boxes = np.array([points_box(place(teacher.calibration.frame(d))) for d in found]).reshape(-1, 4)
        certain = np.array([d.score >= CERTAIN for d in found], bool)
        matches = match_boxes(boxes, source.boxes, 0.2)
        for i, j in matches.pairs:
            boxes[i], certain[i] = source.boxes[j], True
        missed = source.boxes[list(matches.missed)]
        boxes = np.concatenate([boxes, missed])
        images.append(shrunk(source.image, boxes, np.concatenate([certain, np.ones(len(missed), bool)])))
        report(len(images), total, "training images")
    return images


def rendered_scenes(count: int, negatives: int, seed: int = SCENE_SEED) -> tuple[list[View], list[View]]:
    """Rendered images with one to three faces and their exact boxes, and others without."""
    scenes, blank = [], []
    for k in range(count):
        scene = render_scene(seed, k, 256, faces=1 + k % 3)
        boxes = np.array([points_box(f) for f in scene.faces])
        scenes.append(View(scene.image, boxes, np.ones(len(boxes), bool)))
    for k in range(negatives):
        scene = render_scene(seed, k, 256, faces=0)
        blank.append(View(scene.image, np.zeros((0, 4)), np.zeros(0, bool)))
    return scenes, blank


def loss_terms(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(score, box) losses of (B, 5, H, W) outputs against (B, 6, H, W) of `target_map`.

    Score: focal loss per positive cell. Box: smooth L1 of the centre in units of the face's longer side and of the
    logarithm of the size, over the positive cells.
    """
    truth, positive = target[:, 0], target[:, 0] == 1
    count = positive.sum().clamp_min(1)
    score = output[:, 0].float()
    certain = torch.sigmoid(torch.where(positive, score, -score))
    focal = (1 - certain) ** FOCUS * F.binary_cross_entropy_with_logits(score, positive.float(), reduction="none")
    where = positive.unsqueeze(1)
    side = target[:, 5:6].clamp_min(1)
    apart = (output[:, 1:].float() - target[:, 1:5]) * output.new_tensor(
        [CENTRE_UNIT, CENTRE_UNIT, SIZE_UNIT, SIZE_UNIT]
    ).view(1, 4, 1, 1)
    apart = torch.cat([apart[:, :2] / side, apart[:, 2:]], dim=1)
    box = F.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.05, reduction="none")
    return (focal * (truth >= 0)).sum() / count, (box * where).sum() / count


@dataclass(frozen=True)
class DetectorBatch:
    """target: (B, 6, H, H), see `target_map`."""

    target: torch.Tensor

    def split(self, count: int) -> list[DetectorBatch]:
        """`count` parts of equal size."""
        return [DetectorBatch(part) for part in self.target.split(len(self.target) // count)]


class DetectorObjective:
    """The detector's loss: focal loss of the score plus twice the loss of the box; see `loss_terms`."""

    factors: Mapping[str, float] = MappingProxyType({"score": 1.0, "box": 2.0})

    def terms(self, outputs: torch.Tensor, batch: DetectorBatch) -> torch.Tensor:
        """(2,) score and box loss of (B, 5, H, H) outputs."""
        return torch.stack(loss_terms(outputs, batch.target))

    def weights(self, batch: DetectorBatch) -> torch.Tensor:
        """(2,) what both are divided by: the number of positive cells."""
        return (batch.target[:, 0] == 1).sum().clamp_min(1).float().expand(2)


class DetectorSource:
    """Random views with their target maps, a function of seed and step.

    Args:
        images: images with faces.
        negatives: images without faces.
        config: size of the views, batch size and seed.
        device: the device of the batches.
    """

    def __init__(
        self, images: Sequence[View], negatives: Sequence[View], config: DetectorConfig, device: torch.device
    ) -> None:
        self.images, self.negatives, self.config, self.device = images, negatives, config, device
        self.steps_per_epoch, self.step_size = STEPS_PER_EPOCH, config.batch_size

    def batches(self, first: int, last: int) -> Iterator[StepData[DetectorBatch]]:
        """The batches of the steps first to last - 1."""
        yield from (self.draw(step) for step in range(first, last))

    def draw(self, step: int) -> StepData[DetectorBatch]:
        """The batch of one step."""
        config, rng = self.config, np.random.default_rng((self.config.seed, step))
        views = [draw_view(self.images, self.negatives, config.input_size, rng) for _ in range(config.batch_size)]
        pixels = torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2).float()
        targets = torch.from_numpy(np.stack([target_map(view, config.input_size, STRIDE) for view in views]))
        pixels = pixels.sub_(PIXEL_MEAN).div_(PIXEL_STD)
        return StepData(step, pixels.to(self.device), DetectorBatch(targets.to(self.device)))

    def sample_names(self, step: int) -> list[str]:
        """Views have no names."""
        return []


def fit_detector(
    config: DetectorConfig,
    images: Sequence[View],
    negatives: Sequence[View],
    run: RunSpec,
    record: dict[str, Any],
    report: Reporter | None = None,
) -> DetectorNet:
    """Train the detector's network, and return it with its EMA weights, on the CPU.

    Args:
        config: network and optimisation.
        images: images with faces.
        negatives: images without faces.
        run: where the run is kept, and how it starts.
        record: provenance.
        report: called after every step.

    Raises:
        PairError: as `Trainer.fit`.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    device = pick_device(run.device)
    torch.manual_seed(config.seed)
    net = DetectorNet(config.widths)
    spec = OptimizerSpec(
        lr=config.lr, weight_decay=config.weight_decay, steps=config.steps, warmup=max(1, config.steps // 20),
        ema_decay=config.ema_decay, amp=config.amp,
    )  # fmt: skip
    state = TrainState(net, net, spec, device)
    source = DetectorSource(images, negatives, config, device)
    step = TrainStep(state, DetectorObjective(), device)
    job = TrainJob({**record, "kind": KIND, "processes": 1}, STAGE, source, step, config.steps, RULES)
    Trainer(job, run, report=report).fit()
    averaged = state.averaged_model()
    assert isinstance(averaged, DetectorNet)
    return averaged.cpu().eval()
