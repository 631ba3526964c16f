"""The mean face: the 51 points of an average face seen from the front, as plain numbers.

It is the frontal projection of the project's own shape prior (the mean of data/synthetic/prior.npz), scaled so that
the longer side of its box is 1, and centred on the middle of that box; x to the image's right, y down.
"""

from __future__ import annotations

import numpy as np

_MEAN_FACE = (
    # brow_left
    (-0.5000, -0.3381), (-0.4247, -0.4048), (-0.3172, -0.4252), (-0.2061, -0.4110), (-0.1018, -0.3709),
    # brow_right
    (0.1018, -0.3709), (0.2061, -0.4110), (0.3172, -0.4252), (0.4247, -0.4048), (0.5000, -0.3381),
    # nose_bridge
    (0.0000, -0.2518), (0.0000, -0.1534), (0.0000, -0.0558), (0.0000, 0.0445),
    # nose_base
    (-0.1266, 0.1152), (-0.0658, 0.1366), (0.0000, 0.1540), (0.0658, 0.1366), (0.1266, 0.1152),
    # eye_left
    (-0.3787, -0.2340), (-0.3109, -0.2706), (-0.2301, -0.2703), (-0.1587, -0.2209), (-0.2339, -0.2087),
    (-0.3146, -0.2089),
    # eye_right
    (0.1587, -0.2209), (0.2301, -0.2703), (0.3109, -0.2706), (0.3787, -0.2340), (0.3146, -0.2089),
    (0.2339, -0.2087),
    # lip_outer
    (-0.2416, 0.3064), (-0.1525, 0.2696), (-0.0633, 0.2505), (0.0000, 0.2653), (0.0633, 0.2505),
    (0.1525, 0.2696), (0.2416, 0.3064), (0.1559, 0.3845), (0.0690, 0.4186), (0.0000, 0.4252),
    (-0.0690, 0.4186), (-0.1559, 0.3845),
    # lip_inner
    (-0.2048, 0.3100), (-0.0644, 0.3005), (0.0000, 0.3064), (0.0644, 0.3005), (0.2048, 0.3100),
    (0.0657, 0.3442), (0.0000, 0.3511), (-0.0657, 0.3442),
)  # fmt: skip
MEAN_FACE = np.array(_MEAN_FACE)  # (51, 2)
MEAN_FACE.setflags(write=False)
