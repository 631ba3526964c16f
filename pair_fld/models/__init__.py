"""Networks: `build_model` makes one from its configuration."""

from pair_fld.models.landmark_net import LandmarkNet, build_model

__all__ = ["LandmarkNet", "build_model"]
