"""The 51-point scheme of the PAIR contest: regions, curves, mirror permutation.

Point k is point k + 17 of the iBUG 68-point scheme (Sagonas et al., 300-W, ICCVW 2013): the jaw is left out.
"Left" and "right" are the image's left and right on an unmirrored, upright face. The schemes of data sets, and how the
51 come from them, are files: configs/scheme and `pair_fld.data.schemes`.
"""

from __future__ import annotations

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
