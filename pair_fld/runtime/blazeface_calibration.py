"""Where the key points of MediaPipe's BlazeFace (short range) lie in a face.

Learnt by `pair_fld.evaluate.detector_calibration.learn_calibration` on 1,024 training faces labelled by people: every
third of lfpw/train and helen/train, all of afw, a quarter of aflw/train.
"""

from __future__ import annotations

import numpy as np

from .calibration import DetectorCalibration

_SHORT_RANGE = DetectorCalibration(
    detector="blazeface_128",
    key_points=("right_eye", "left_eye", "nose_tip", "mouth", "right_ear", "left_ear"),
    reference=np.array(
        [
            (-0.2783, -0.24014), (0.25556, -0.23649), (-0.010306, 0.082263), (-0.014656, 0.33907),
            (-0.57233, -0.13453), (0.5444, -0.12716),
        ]
    ),
    weights=np.array([0.89012, 0.81493, 0.1678, 1.0, 0.031372, 0.035963]),
    bias=np.array([0.00049172, 0.0015969, 0.0051563, -0.19753]),
    covariance=np.array(
        [
            (0.00045074, 4.6744e-05, -1.1022e-05, 0.01404),
            (4.6744e-05, 0.00042296, 3.9336e-05, -0.0029646),
            (-1.1022e-05, 3.9336e-05, 0.0024594, 0.0047015),
            (0.01404, -0.0029646, 0.0047015, 12.648),
        ]
    ),
    faces=1024,
)  # fmt: skip

BUILT_IN: dict[str, DetectorCalibration] = {_SHORT_RANGE.detector: _SHORT_RANGE}
