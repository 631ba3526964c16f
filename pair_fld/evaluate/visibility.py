"""Errors of points that are seen and of points that are hidden, and of faces at all head poses.

Points lie behind something, or are hidden by the head itself; people estimate where, if they label them at all. Labels
of profiles lack an outer eye corner, so all figures here are normalised by the eye distance of `data.zero_points`:
that of the outer corners, or EYES_PER_BOX times the root of the box's area where one of them is not labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pair_fld.data.sample import SEEN
from pair_fld.data.zero_points import EYES_PER_BOX, eye_distance
from pair_fld.evaluate.metrics import masked_mean, normalise, outer_corners, plain_number, point_errors

NOT_STATED = -1  # of a point whose source says nothing about visibility


@dataclass(frozen=True)
class PointScores:
    """Labelled points that are alike. nme_percent: mean over the points, each error over its face's eye distance; nan
    without points. spread_percent: mean spread of their heatmaps along one axis, over the same; None without heatmaps.
    """

    points: int
    nme_percent: float
    spread_percent: float | None

    def to_json(self) -> dict[str, float | int | None]:
        return {
            "points": self.points,
            "nme_outer_corners_or_box_percent": plain_number(self.nme_percent),
            "mean_heatmap_spread_percent": None if self.spread_percent is None else plain_number(self.spread_percent),
        }


@dataclass(frozen=True)
class VisibilityScores:
    """Attributes:
    seen, hidden: points of sources that say which are hidden.
    box_faces: faces whose errors are normalised by their box. nme_percent: mean over all faces, these among them.
    """

    seen: PointScores
    hidden: PointScores
    box_faces: int
    nme_percent: float

    def to_json(self) -> dict[str, Any]:
        return {
            "nme_outer_corners_or_box_percent": plain_number(self.nme_percent),
            "box_normalised_faces": self.box_faces,
            "seen_points": self.seen.to_json(),
            "hidden_points": self.hidden.to_json(),
        }

    @property
    def sentence(self) -> str | None:
        """What to say of faces without an outer eye corner; None where there is none."""
        if not self.box_faces:
            return None
        return (
            f"faces without an outer eye corner: {self.box_faces}; over {EYES_PER_BOX:g} x the root of the box area "
            f"(and over the corners' distance of the others) the NME of all is {self.nme_percent:.2f} %"
        )


def score_visibility(
    predicted: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray,
    visibility: np.ndarray | None = None,
    spreads: np.ndarray | None = None,
) -> VisibilityScores:
    """Scores of N faces; arguments as `metrics.nme`, in one frame a face.

    Args:
        visibility: (N, 51) SEEN, BEHIND, SELF_HIDDEN or NOT_STATED; None: nobody said.
        spreads: (N, 51) of the heatmaps along one axis, in the points' unit.
    """
    unit = eye_distance(truth, valid)
    errors = point_errors(predicted, truth, valid)
    over = None if spreads is None else normalise(spreads, unit[:, None])
    relative = normalise(errors, unit[:, None])
    known = np.full(valid.shape, NOT_STATED) if visibility is None else visibility
    counted = valid & np.isfinite(unit)[:, None]

    def scores(chosen: np.ndarray) -> PointScores:
        own = None if over is None else float(masked_mean(over[chosen])) * 100
        return PointScores(int(chosen.sum()), float(masked_mean(relative[chosen])) * 100, own)

    by_box = np.isnan(outer_corners(truth, valid)) & np.isfinite(unit)
    return VisibilityScores(
        scores(counted & (known == SEEN)),
        scores(counted & (known > SEEN)),
        int(by_box.sum()),
        float(masked_mean(masked_mean(relative))) * 100,
    )
