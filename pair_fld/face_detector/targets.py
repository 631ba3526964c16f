"""What the detector's net should give for a view, and how far its output is from it."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from pair_fld.face_detector.views import VISIBLE, View, visible_share
from pair_fld.runtime.centre_detector import CENTRE_UNIT, KEY_POINT_UNIT, KEY_POINTS, SIZE_UNIT

# Distances of a cell from a face's centre, over the face's longer side
POSITIVE, IGNORED = 0.18, 0.42
SMALLEST = 1 / 18  # of the view: a smaller face is neither wanted nor held against the net
FOCUS = 2.0  # gamma of the focal loss (Lin et al., ICCV 2017)
SHARP = 4.0  # cells: a face of fewer shows little of its roll, and its key points weigh less in proportion
TARGETS = 6 + 2 * len(KEY_POINTS)


def target_map(view: View, size: int, stride: int) -> np.ndarray:
    """(16, H, H) float32 of a view (S, S, 3), H = S / stride.

    Channels: 1 / 0 / -1 for a face, none, don't care; then, of the face that a cell predicts, the four numbers of its
    box (units of `runtime.centre_detector`), its longer side in cells, and the ten of its key points, nan where the
    label lacks one.
    """
    cells = size // stride
    target = np.zeros((TARGETS, cells, cells), np.float32)
    nearest = np.full((cells, cells), np.inf)
    y, x = np.meshgrid(np.arange(cells) + 0.5, np.arange(cells) + 0.5, indexing="ij")
    shares = visible_share(view.boxes, size)
    faces = zip((view.boxes + 0.5) / stride, view.certain, shares, (view.key_points + 0.5) / stride, strict=True)
    for box, certain, share, key_points in faces:
        centre, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        side = float(extent.max())
        distance = np.hypot(x - centre[0], y - centre[1])
        wanted = bool(certain) and share >= VISIBLE and side >= SMALLEST * cells
        own = (np.abs(x - centre[0]) <= 0.5) & (np.abs(y - centre[1]) <= 0.5)
        positive = wanted & ((distance < POSITIVE * side) | own) & (distance / side < nearest)
        ring = (distance < max(IGNORED * side, 1.0)) & (target[0] == 0)
        target[0][ring] = -1
        target[0][positive] = 1
        nearest[positive] = (distance / side)[positive]
        target[1][positive] = (centre[0] - x)[positive] / CENTRE_UNIT
        target[2][positive] = (centre[1] - y)[positive] / CENTRE_UNIT
        target[3:5, positive] = (np.log(extent / cells) / SIZE_UNIT)[:, None]
        target[5][positive] = side
        target[6:, positive] = ((key_points - centre) / side / KEY_POINT_UNIT).reshape(-1, 1)
    return target


def loss_terms(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(3,) losses of score, box and key points of (B, 15, H, W) outputs against (B, 16, H, W) of `target_map`.

    Score: focal loss per positive cell. Box: smooth L1 of the centre in units of the face's longer side and of the
    logarithm of the size. Key points: smooth L1 from the box's centre, in units of its longer side, where labelled.
    Both are sums over the
    channels, means over the positive cells.
    """
    truth, positive = target[:, 0], target[:, 0] == 1
    count = positive.sum().clamp_min(1)
    score = output[:, 0].float()
    certain = torch.sigmoid(torch.where(positive, score, -score))
    focal = (1 - certain) ** FOCUS * F.binary_cross_entropy_with_logits(score, positive.float(), reduction="none")
    where = positive.unsqueeze(1)
    side = target[:, 5:6].clamp_min(1)
    apart = (output[:, 1:5].float() - target[:, 1:5]) * output.new_tensor(
        [CENTRE_UNIT, CENTRE_UNIT, SIZE_UNIT, SIZE_UNIT]
    ).view(1, 4, 1, 1)
    apart = torch.cat([apart[:, :2] / side, apart[:, 2:]], dim=1)
    box = F.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.05, reduction="none")
    labelled = where & torch.isfinite(target[:, 6:])
    apart = torch.where(labelled, output[:, 5:].float() - target[:, 6:].nan_to_num(), 0.0) * KEY_POINT_UNIT
    key_points = F.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.05, reduction="none")
    key_points = key_points * (target[:, 5:6] / SHARP).clamp_max(1)
    return torch.stack([(focal * (truth >= 0)).sum(), (box * where).sum(), key_points.sum()]) / count
