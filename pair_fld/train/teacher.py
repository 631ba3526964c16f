"""A teacher that looks at every batch as the student sees it, for what cached answers cannot give."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models import LandmarkNet
from pair_fld.train.loss_terms import Batch


class LiveTeacher:
    """Answers for batches of views; its weights stay as they are.

    Args:
        model: the teacher. student: whose views it will see; they are resized to the teacher's input.
        heatmaps, fused: whether its heatmaps are wanted, or its fused ones, which only anisotropic attention gives.

    Raises:
        PairError: the two nets crop differently, or the teacher does not give what is wanted.
    """

    def __init__(
        self, model: LandmarkNet, student: ModelConfig, device: torch.device, amp: bool, *, heatmaps: bool, fused: bool
    ) -> None:
        if model.config.margin != student.margin:
            expected, found = f"a teacher with the student's model.margin of {student.margin}", str(model.config.margin)
            raise PairError(
                "distill.teacher_mode", expected, found, "Give both the same margin, or teach by cached answers."
            )
        if (heatmaps and model.output_kind != "heatmap") or (fused and not model.has_maps):
            expected = "a teacher with the attention head" if fused else "a teacher with heatmaps"
            raise PairError(
                "distill.teacher_mode", expected, model.config.arch, "Choose another teacher or other losses."
            )
        self.model, self.amp = model.to(device).eval(), amp

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, batch: Batch) -> Batch:
        """The batch with the teacher's raw output and feature map for its (B, 3, S, S) images."""
        side = self.model.config.input_size
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.amp):
            outputs = self.model.outputs(images.contiguous(memory_format=torch.channels_last))
        return replace(batch, live_raw=outputs.raw, live_feature=outputs.feature)
