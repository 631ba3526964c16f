"""Training of the project's own face detector on another detector's detections, labels and rendered scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from pair_fld.config import DetectorConfig
from pair_fld.face_detector.mining import HardNegatives
from pair_fld.face_detector.net import STRIDE, DetectorNet
from pair_fld.face_detector.targets import loss_terms, target_map
from pair_fld.face_detector.views import View, draw_view, net_input
from pair_fld.progress import Say, say_nothing
from pair_fld.runtime.search import SearchingDetector
from pair_fld.train.batches import StepData
from pair_fld.train.distributed import pick_device
from pair_fld.train.resume import ResumeRules
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.train_step import OptimizerSpec, TrainState, TrainStep
from pair_fld.train.trainer import Reporter, Trainer, TrainJob

KIND, STAGE = "detector", "train-detector"  # in run.json; in the run folder's marker
STEPS_PER_EPOCH = 100  # one row of metrics.csv
_LEARNING = ("lr", "steps", "mining_rounds", "mining_views", "hard_negatives")
RULES = ResumeRules(DetectorConfig, learning=_LEARNING, running=("threads",))


@dataclass(frozen=True)
class DetectorBatch:
    """target: (B, 16, H, H), see `target_map`."""

    target: torch.Tensor

    def split(self, count: int) -> list[DetectorBatch]:
        """`count` parts of equal size."""
        return [DetectorBatch(part) for part in self.target.split(len(self.target) // count)]


class DetectorObjective:
    """The detector's loss: focal loss of the score plus twice the losses of box and key points; see `loss_terms`."""

    factors: Mapping[str, float] = MappingProxyType({"score": 1.0, "box": 2.0, "key_points": 2.0})

    def terms(self, outputs: torch.Tensor, batch: DetectorBatch) -> torch.Tensor:
        """(3,) losses of score, box and key points of (B, 15, H, H) outputs."""
        return loss_terms(outputs, batch.target)

    def weights(self, batch: DetectorBatch) -> torch.Tensor:
        """(3,) what all are divided by: the number of positive cells."""
        return (batch.target[:, 0] == 1).sum().clamp_min(1).float().expand(3)


class DetectorSource:
    """Random views with their target maps, a function of seed, step and hard negatives.

    Args:
        images: images with faces.
        negatives: images without faces.
        config: size of the views, batch size and seed.
        device: the device of the batches.
        hard: the hard negatives, None for none.
        state: what mines them: the net as it is before a step.
    """

    def __init__(
        self,
        images: Sequence[View],
        negatives: Sequence[View],
        config: DetectorConfig,
        device: torch.device,
        hard: HardNegatives | None = None,
        state: TrainState | None = None,
    ) -> None:
        self.images, self.negatives, self.config, self.device = images, negatives, config, device
        self.hard, self.state = hard, state
        self.steps_per_epoch, self.step_size = STEPS_PER_EPOCH, config.batch_size

    def batches(self, first: int, last: int) -> Iterator[StepData[DetectorBatch]]:
        """The batches of the steps first to last - 1."""
        if self.hard is not None:
            self.hard.restore(first)
        for step in range(first, last):
            if self.hard is not None and self.state is not None:
                self.hard.update(step, self.state.averaged_model())
            yield self.draw(step)

    def draw(self, step: int) -> StepData[DetectorBatch]:
        """The batch of one step."""
        config, rng = self.config, np.random.default_rng((self.config.seed, step))
        hard = [] if self.hard is None else self.hard.views
        views = [draw_view(self.images, self.negatives, config.input_size, rng, hard) for _ in range(config.batch_size)]
        targets = torch.from_numpy(np.stack([target_map(view, config.input_size, STRIDE) for view in views]))
        return StepData(step, net_input(views).to(self.device), DetectorBatch(targets.to(self.device)))

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
    teacher: SearchingDetector | None = None,
    say: Say = say_nothing,
) -> DetectorNet:
    """Train the detector's network, and return it with its EMA weights, on the CPU.

    Args:
        config: network and optimisation.
        images: images with faces.
        negatives: images without faces.
        run: where the run is kept, and how it starts.
        record: provenance.
        report: called after every step.
        teacher: a detector that says which hard negatives may be faces that nobody labelled.
        say: takes a sentence per round of mining.

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
    hard = HardNegatives(images, config, run.out, teacher, say)
    source = DetectorSource(images, negatives, config, device, hard, state)
    step = TrainStep(state, DetectorObjective(), device)
    job = TrainJob({**record, "kind": KIND, "processes": 1}, STAGE, source, step, config.steps, RULES)
    Trainer(job, run, report=report).fit()
    averaged = state.averaged_model()
    assert isinstance(averaged, DetectorNet)
    return averaged.cpu().eval()
