"""A teacher that runs on every batch, for terms that cached predictions cannot serve."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models import LandmarkNet
from pair_fld.train.loss_terms import Batch


class DistillationTeacher:
    """Adds a teacher's outputs for the student's views to a batch; its weights stay as they are.

    Args:
        model: the teacher.
        student: whose views it gets; they are resized to the teacher's input size.
        device: the device of both.
        amp: bfloat16 autocast.
        heatmaps: whether its heatmaps are needed.
        fused: whether its fused heatmaps are needed, which only anisotropic attention gives.

    Raises:
        PairError: the two networks have different margins, or the teacher lacks a needed output.
    """

    def __init__(
        self, model: LandmarkNet, student: ModelConfig, device: torch.device, amp: bool, *, heatmaps: bool, fused: bool
    ) -> None:
        if model.config.margin != student.margin:
            expected, found = f"a teacher with the student's model.margin of {student.margin}", str(model.config.margin)
            remedy = "Give both the same margin, or use cached predictions."
            raise PairError("distill.teacher_mode", expected, found, remedy)
        if (heatmaps and model.output_kind != "heatmap") or (fused and not model.has_maps):
            expected = "a teacher with the attention head" if fused else "a teacher with heatmaps"
            remedy = "Choose another teacher or other losses."
            raise PairError("distill.teacher_mode", expected, model.config.arch, remedy)
        self.model, self.amp = model.to(device).eval(), amp

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, batch: Batch) -> Batch:
        """The batch with `teacher_logits` and `teacher_feature` for its images (B, 3, S, S)."""
        side = self.model.config.input_size
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.amp):
            outputs = self.model.outputs(images.contiguous(memory_format=torch.channels_last))
        return replace(batch, teacher_logits=outputs.raw, teacher_feature=outputs.feature)
