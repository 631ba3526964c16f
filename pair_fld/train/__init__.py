"""Training: one loop, its losses, its checkpoints, and what the two stages put into them."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.train.ablation import AblationSpec, ablate
    from pair_fld.train.distill import train_teacher
    from pair_fld.train.distributed import Distributed, pick_device
    from pair_fld.train.run_folder import RunSpec
    from pair_fld.train.trainer import Trainer, TrainJob, TrainProgress

__all__ = [
    "AblationSpec",
    "Distributed",
    "RunSpec",
    "TrainJob",
    "TrainProgress",
    "Trainer",
    "ablate",
    "pick_device",
    "train_teacher",
]

__getattr__ = attach(
    __name__,
    {
        "ablation": ["AblationSpec", "ablate"],
        "distill": ["train_teacher"],
        "distributed": ["Distributed", "pick_device"],
        "run_folder": ["RunSpec"],
        "trainer": ["TrainJob", "TrainProgress", "Trainer"],
    },
)
