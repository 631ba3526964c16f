import numpy as np
import pytest

from pair_fld.config import DistillConfig
from pair_fld.data.dataset import FaceTable, LabelSource
from pair_fld.data.sample import BEHIND, SELF_HIDDEN
from pair_fld.train.batches import fuse_labels
from pair_fld.train.predict_dataset import LandmarkPredictions


def test_hidden_points_weigh_less_than_seen_ones() -> None:
    """Two faces with a point behind something (3), one hidden by the head (4) and one that is not labelled (5)."""
    mask = np.ones((2, 51), bool)
    mask[:, 5] = False
    visibility = np.zeros((2, 51), np.uint8)
    visibility[:, 3], visibility[:, 4], visibility[:, 5] = BEHIND, SELF_HIDDEN, SELF_HIDDEN
    faces = FaceTable(
        points=np.zeros((2, 51, 2), np.float32),
        point_mask=mask,
        frame=np.tile(np.array([50, 50, 40, 0], np.float32), (2, 1)),
        matrix=np.tile(np.eye(2, 3), (2, 1, 1)),
        split=np.zeros(2, np.uint8),
        source=np.zeros(2, np.int16),
        label=np.array([LabelSource.HUMAN, LabelSource.MACHINE], np.uint8),
        path=np.array(["a", "b"]),
        hash=np.array(["a", "b"]),
        visibility=visibility,
    )
    alone = fuse_labels(faces, None, DistillConfig(), 0.3).weight
    assert alone[0, 2:7].tolist() == pytest.approx([1, 0.3, 0.3, 0, 1])
    assert alone[1].tolist() == pytest.approx(alone[0].tolist())
    sure = LandmarkPredictions(np.ones((2, 51, 2), np.float32), np.tile(np.eye(2), (2, 51, 1, 1)), np.full(2, 58.0))
    taught = fuse_labels(faces, sure, DistillConfig(machine_labels=0.5, fill_max_sigma=50.0), 0.3).weight
    # a machine's label of a hidden point: 0.5 x 0.3; a gap that the teacher fills weighs as a machine's label
    assert taught[0, 2:7].tolist() == pytest.approx([1, 0.3, 0.3, 0.5, 1])
    assert taught[1, 2:7].tolist() == pytest.approx([0.5, 0.15, 0.15, 0.5, 0.5])
