"""The 51-point scheme of the PAIR contest: names, regions, mirror permutation, maps from other schemes.

Point k is point k + 17 of the iBUG 68-point scheme (Sagonas et al., 300-W, ICCVW 2013): the jaw is left out.
"Left" and "right" are the image's left and right on an unmirrored, upright face.
"""

from __future__ import annotations

import numpy as np

NUM_POINTS = 51

# Regions in the order of the points; every point belongs to exactly one.
REGIONS: dict[str, tuple[int, ...]] = {
    "brow_left": tuple(range(0, 5)),
    "brow_right": tuple(range(5, 10)),
    "nose_bridge": tuple(range(10, 14)),
    "nose_base": tuple(range(14, 19)),
    "eye_left": tuple(range(19, 25)),
    "eye_right": tuple(range(25, 31)),
    "lip_outer": tuple(range(31, 43)),
    "lip_inner": tuple(range(43, 51)),
}

# The eight curves of the paper's edge maps, as ordered point indices; closed curves repeat their first point.
CURVES: dict[str, tuple[int, ...]] = {
    name: (*points, points[0]) if name.startswith(("eye", "lip")) else points for name, points in REGIONS.items()
}

# The mirrored face's point i is the original face's point FLIP[i].
FLIP: tuple[int, ...] = (
    *range(9, -1, -1),
    *range(10, 14),
    *range(18, 13, -1),
    28, 27, 26, 25, 30, 29,
    22, 21, 20, 19, 24, 23,
    37, 36, 35, 34, 33, 32, 31, 42, 41, 40, 39, 38,
    47, 46, 45, 44, 43, 50, 49, 48,
)  # fmt: skip

OUTER_EYE_CORNERS = (19, 28)
EYE_LEFT = REGIONS["eye_left"]
EYE_RIGHT = REGIONS["eye_right"]

# iBUG 68 -> 51: drop the jaw.
FROM_68: tuple[int, ...] = tuple(range(17, 68))

# 49-point files leave out the inner mouth corners, points 43 and 47 of this scheme.
MISSING_IN_49 = (43, 47)
FROM_49: tuple[int, ...] = tuple(i for i in range(NUM_POINTS) if i not in MISSING_IN_49)

# WFLW 98 (Wu et al., CVPR 2018) -> 51. WFLW draws the brows as closed outlines of nine points (33-41, 42-50) whose
# upper edge is the iBUG brow, and the eyes as eight points (60-67, 68-75) with one point more on each lid; the iBUG
# lid points lie between those, so they are the nearest ones and not exact: treat them as machine labels.
FROM_98: tuple[int, ...] = (
    33, 34, 35, 36, 37,
    42, 43, 44, 45, 46,
    51, 52, 53, 54,
    55, 56, 57, 58, 59,
    60, 61, 63, 64, 65, 67,
    68, 69, 71, 72, 73, 75,
    *range(76, 88),
    *range(88, 96),
)  # fmt: skip

SUPPORTED_COUNTS = (49, 51, 68, 98)


def to_51(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring points of a supported scheme to the 51-point scheme.

    Args:
        points: (N, 2) with N in 49, 51, 68 or 98, in any frame.

    Returns:
        points (51, 2) float64, and valid (51,) bool; a point that the source scheme lacks, or that is not a
        finite number, is (0, 0) and False.

    Raises:
        ValueError: for any other count.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in SUPPORTED_COUNTS:
        raise ValueError(f"expected 49, 51, 68 or 98 points of x and y, found an array of shape {points.shape}")
    out = np.zeros((NUM_POINTS, 2))
    valid = np.zeros(NUM_POINTS, bool)
    if len(points) == 49:
        out[list(FROM_49)], valid[list(FROM_49)] = points, True
    else:
        index = {51: tuple(range(NUM_POINTS)), 68: FROM_68, 98: FROM_98}[len(points)]
        out[:], valid[:] = points[list(index)], True
    finite = np.isfinite(out).all(axis=1)
    out[~finite] = 0.0
    return out, valid & finite
