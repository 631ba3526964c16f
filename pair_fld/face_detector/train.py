"""Training the project's own face finder on another finder's answers, the labels, and rendered scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from pair_fld.config import DetectorConfig
from pair_fld.data.dataset import TRAIN, Pack
from pair_fld.data.source_images import pack_pictures, picture_count
from pair_fld.data.synthetic import render_scene
from pair_fld.errors import PairError
from pair_fld.evaluate.matching import match_boxes
from pair_fld.face_detector.net import STRIDE, DetectorNet
from pair_fld.face_detector.views import Shown, draw_view, shrunk, target_map
from pair_fld.models import timm_compat as library
from pair_fld.models.checkpoint import load_checkpoint, save_checkpoint
from pair_fld.runtime.centre_detector import CENTRE_UNIT, SIZE_UNIT
from pair_fld.runtime.frame import place
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.metadata import PIXEL_MEAN, PIXEL_STD
from pair_fld.runtime.search import SearchingDetector

Report = Callable[[int, int, str], None]
SURE = 0.65  # score from which the teaching finder's answer counts as a face; below, the place is left out
FOCUS = 2.0  # gamma of the focal loss (Lin et al., ICCV 2017)
CHECKPOINT_STEPS = 500
SCENE_SEED = 11


def teaching_pictures(pack: Pack, teacher: SearchingDetector, config: DetectorConfig, report: Report) -> list[Shown]:
    """Training pictures with the teacher's boxes, brought to 51-point boxes, and the labelled ones in their place.

    Args:
        teacher: should answer with low scores too, so that doubtful places are known.
    """
    assert teacher.calibration is not None, teacher.name
    shown = []
    total = picture_count(pack, TRAIN, config.images_per_source, labelled=False)
    for picture in pack_pictures(pack, TRAIN, config.images_per_source, labelled=False):
        found = teacher.detect(picture.image)
        boxes = np.array([points_box(place(teacher.calibration.frame(d))) for d in found]).reshape(-1, 4)
        sure = np.array([d.score >= SURE for d in found], bool)
        matches = match_boxes(boxes, picture.boxes, 0.2)
        for i, j in matches.pairs:
            boxes[i], sure[i] = picture.boxes[j], True
        missed = picture.boxes[list(matches.missed)]
        boxes = np.concatenate([boxes, missed])
        shown.append(shrunk(picture.image, boxes, np.concatenate([sure, np.ones(len(missed), bool)])))
        report(len(shown), total, "training images seen by the teacher")
    return shown


def rendered_scenes(count: int, empty: int, seed: int = SCENE_SEED) -> tuple[list[Shown], list[Shown]]:
    """Rendered pictures with one to three faces and their exact boxes, and others without."""
    scenes, blank = [], []
    for k in range(count):
        scene = render_scene(seed, k, 256, faces=1 + k % 3)
        boxes = np.array([points_box(f) for f in scene.faces])
        scenes.append(Shown(scene.image, boxes, np.ones(len(boxes), bool)))
    for k in range(empty):
        scene = render_scene(seed, k, 256, faces=0)
        blank.append(Shown(scene.image, np.zeros((0, 4)), np.zeros(0, bool)))
    return scenes, blank


def scrambled(image: np.ndarray, rng: np.random.Generator, blocks: int = 20) -> np.ndarray:
    """A photograph's blocks in another order: its textures and colours, and nothing that is a face."""
    side = max(4, max(image.shape[:2]) // blocks)
    rows, columns = image.shape[0] // side, image.shape[1] // side
    cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side, 3).swapaxes(1, 2)
    mixed = rng.permutation(cut.reshape(-1, side, side, 3)).reshape(rows, columns, side, side, 3)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(rows * side, columns * side, 3))


def loss_terms(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(score, box) losses of (B, 5, H, W) outputs against (B, 6, H, W) of `target_map`.

    Score: focal loss, per face cell. Box: smooth L1 of the centre in units of the face's longer side and of the
    logarithm of the size, over the cells that answer for a face.
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


def views(
    shown: list[Shown], empty: list[Shown], config: DetectorConfig, first: int, last: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(pixels (B, 3, S, S) normalised, targets (B, 6, H, H)) of steps `first` to `last`: known from seed and step."""
    for step in range(first, last):
        rng = np.random.default_rng((config.seed, step))
        batch = [draw_view(shown, empty, config.input_size, rng) for _ in range(config.batch_size)]
        pixels = torch.from_numpy(np.stack([v.image for v in batch])).permute(0, 3, 1, 2).float()
        targets = np.stack([target_map(v, config.input_size, STRIDE) for v in batch])
        yield pixels.sub_(PIXEL_MEAN).div_(PIXEL_STD), torch.from_numpy(targets)


def fit_detector(
    config: DetectorConfig, shown: list[Shown], empty: list[Shown], out: Path, record: dict[str, object], report: Report
) -> DetectorNet:
    """Train and return the averaged net; `out`/last.pt is continued when it holds an unfinished run of ours."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    net = DetectorNet(config.widths).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = library.ema(net, config.ema_decay)
    optimizer = library.optimizer(net, config.lr, config.weight_decay)
    schedule = library.cosine(optimizer, config.steps, max(1, config.steps // 20))
    path, step = out / "last.pt", 0
    if path.is_file():
        state = load_checkpoint(path)
        net.load_state_dict(state["model"])
        average.module.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    shown_loss = 0.0
    for pixels, target in views(shown, empty, config, step, config.steps):
        schedule.step_update(step)
        score, box = loss_terms(net(pixels.contiguous(memory_format=torch.channels_last)), target)
        loss = score + 2 * box
        if not torch.isfinite(loss):
            raise PairError(out, "finite losses", f"{loss.item()} at step {step}", "Lower lr and train again.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        average.update(net, step=step)
        step += 1
        shown_loss = loss.item() if step == 1 else 0.97 * shown_loss + 0.03 * loss.item()
        report(step, config.steps, f"loss {shown_loss:.3f}")
        if step % CHECKPOINT_STEPS == 0 or step == config.steps:
            save_checkpoint(path, {
                "model": net.state_dict(), "ema": average.module.state_dict(), "optimizer": optimizer.state_dict(),
                "step": step, "record": record,
            })  # fmt: skip
    return average.module.eval()
