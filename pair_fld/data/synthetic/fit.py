"""Fit the 3-D shape prior to 2-D point sets: `python -m pair_fld.data.synthetic.fit SHAPES.csv [prior.npz]`.

Non-rigid structure from motion under scaled orthography (Bregler, Hertzmann & Biermann, CVPR 2000), by
alternating closed-form steps: x_i = s_i R_i (mean + sum_k c_ik mode_k) + t_i. Every shape is used twice, once
mirrored, so that the mean comes out symmetric. Depth is ambiguous from one view each, so the mean's depth is tied
to a template written down from general anatomy (`DEPTH_MM`), and the modes' depth is held small by a ridge.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pair_fld.errors import PairError
from pair_fld.runtime.scheme import FLIP, NUM_POINTS

MODES = 12
RIGID_ROUNDS = 5  # of the fit, in which the mean alone is fitted
EYE_SPAN_MM = 90.0  # distance of the outer eye corners; fixes the unit of every length in this package

# Depth towards the viewer in millimetres, relative to the outer eye corners; left half and middle line.
_DEPTH_LEFT = {
    0: 0, 1: 10, 2: 15, 3: 17, 4: 18, 10: 17, 11: 25, 12: 34, 13: 42, 14: 21, 15: 26, 16: 30,
    19: 0, 20: 7, 21: 10, 22: 6, 23: 8, 24: 5,
    31: 14, 32: 21, 33: 28, 34: 29, 40: 25, 41: 24, 42: 20, 43: 15, 44: 24, 45: 26, 49: 24, 50: 23,
}  # fmt: skip
DEPTH_MM = np.array([_DEPTH_LEFT.get(i, _DEPTH_LEFT.get(FLIP[i])) for i in range(NUM_POINTS)], float)


def read_shapes(path: Path) -> np.ndarray:
    """Read `name,x0,y0,x1,y1,...` lines.

    Returns:
        (n, 51, 2) float64: centred, y up, scaled to a root mean square radius of 1.

    Raises:
        PairError: when the file is missing or a line has not 51 points.
    """
    if not path.is_file():
        raise PairError(path, "a file of shapes", "none", "Give the path of a CSV: name,x0,y0,...,x50,y50.")
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        values = line.split(",")[1:]
        if len(values) != 2 * NUM_POINTS:
            raise PairError(f"{path}:{number}", "102 numbers", f"{len(values)}", "Correct or remove the line.")
        rows.append(np.array(values, float).reshape(NUM_POINTS, 2) * (1, -1))
    shapes = np.array(rows)
    shapes -= shapes.mean(axis=1, keepdims=True)
    return shapes / np.sqrt((shapes**2).sum(-1).mean(-1))[:, None, None]


def _pose(flat: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Scaled orthographic camera (2, 3) that takes `solid` (51, 3) to `flat` (51, 2); both centred."""
    affine = np.linalg.lstsq(solid, flat, rcond=None)[0].T
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    return s.mean() * u @ vt


def _coefficients(left: np.ndarray, cameras: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """How much of each mode (MODES, 51, 3) every face has: (n, MODES), of mean 0 and deviation 1 over the faces.

    A ridge regression of what the mean leaves over (n, 51, 2), seen through each face's camera (n, 2, 3).
    """
    count = len(left)
    basis = np.einsum("nij,kpj->npik", cameras, modes).reshape(count, -1, MODES)
    normal = np.einsum("nak,nal->nkl", basis, basis) + 0.02 * np.eye(MODES)
    found = np.linalg.solve(normal, np.einsum("nak,na->nk", basis, left.reshape(count, -1))[..., None])[..., 0]
    found -= found.mean(axis=0)
    found /= found.std(axis=0)
    return found


def _solve_solids(data: np.ndarray, cameras: np.ndarray, coefficients: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Mean and modes (1 + K, 51, 3) together: per point a ridge regression of its places in the faces (n, 51, 2) on
    (1, coefficients) x camera, tied to the template's depth, since faces seen from the front do not show theirs."""
    count = len(data)
    weights = np.column_stack([np.ones(count), coefficients])
    design = np.einsum("nk,nij->nikj", weights, cameras).reshape(2 * count, -1)
    ridge = np.tile([0.002, 0.002, 0.05], weights.shape[1]) * count
    ridge[:3] = np.array([0.0, 0.0, 0.05]) * count
    target = np.zeros((design.shape[1], NUM_POINTS))
    target[2] = template
    solved = np.linalg.solve(
        design.T @ design + np.diag(ridge),
        design.T @ data.transpose(0, 2, 1).reshape(2 * count, NUM_POINTS) + ridge[:, None] * target,
    )
    return solved.reshape(-1, 3, NUM_POINTS).transpose(0, 2, 1)


def fit(shapes: np.ndarray, rounds: int = 60) -> dict[str, np.ndarray]:
    """Factorise mirrored-and-original shapes (n, 51, 2).

    Returns:
        mean (51, 3) and modes (MODES, 51, 3), one standard deviation each, in millimetres, x right, y up, z towards
        the viewer, origin midway between the outer eye corners; yaw and pitch: (2n,) angles found, in degrees;
        residual: () root mean square 2-D residual in millimetres.
    """
    flip = list(FLIP)
    data: np.ndarray = np.concatenate([shapes, shapes[:, flip] * (-1, 1)])
    count = len(data)
    mean: np.ndarray = np.column_stack([data.mean(axis=0), np.zeros(NUM_POINTS)])
    to_mm = EYE_SPAN_MM / (mean[28, 0] - mean[19, 0])
    template: np.ndarray = DEPTH_MM / to_mm
    template = template - template.mean()
    mean[:, 2] = template
    modes: np.ndarray = np.zeros((0, NUM_POINTS, 3))
    coefficients: np.ndarray = np.zeros((count, 0))
    cameras: np.ndarray = np.zeros((count, 2, 3))
    for step in range(rounds):
        solids = mean + np.einsum("nk,kpd->npd", coefficients, modes)
        cameras = np.array([_pose(x, s) for x, s in zip(data, solids, strict=True)])
        left = data - np.einsum("nij,pj->npi", cameras, mean)
        if step == RIGID_ROUNDS:  # start the modes from the principal components of what the rigid mean leaves over
            lifted = np.einsum("nij,npi->npj", cameras, left) / (cameras**2).sum((1, 2))[:, None, None] * 2
            _, _, vt = np.linalg.svd(lifted.reshape(count, -1), full_matrices=False)
            modes = vt[:MODES].reshape(-1, NUM_POINTS, 3) * 0.2
        if step >= RIGID_ROUNDS:
            coefficients = _coefficients(left, cameras, modes)
        solved = _solve_solids(data, cameras, coefficients, template)
        mean, modes = solved[0], solved[1:]
        mean = (mean + mean[flip] * (-1, 1, 1)) / 2
        mean = mean - mean.mean(axis=0)
    left = data - np.einsum("nij,npj->npi", cameras, mean + np.einsum("nk,kpd->npd", coefficients, modes))
    rotation = cameras / np.linalg.norm(cameras, axis=2, keepdims=True)
    # the modes span the shapes' variation in any directions: turn them into its principal components
    _, s, vt = np.linalg.svd(coefficients @ modes.reshape(len(modes), -1), full_matrices=False)
    modes = (s[:MODES, None] / np.sqrt(count) * vt[:MODES]).reshape(-1, NUM_POINTS, 3)
    unit = EYE_SPAN_MM / np.linalg.norm(mean[28] - mean[19])
    return {
        "mean": ((mean - (mean[19] + mean[28]) / 2) * unit).astype(np.float32),
        "modes": (modes * unit).astype(np.float32),
        "yaw": np.degrees(np.arcsin(np.clip(rotation[:, 0, 2], -1, 1))).astype(np.float32),
        "pitch": np.degrees(np.arcsin(np.clip(rotation[:, 1, 2], -1, 1))).astype(np.float32),
        "residual": np.array(np.sqrt((left**2).sum(-1).mean()) * unit, np.float32),
    }


def main(arguments: list[str]) -> None:
    """Fit the file named by the first argument and write the prior to the second (default: beside this module)."""
    if not 1 <= len(arguments) <= 2:
        raise SystemExit("usage: python -m pair_fld.data.synthetic.fit SHAPES.csv [prior.npz]")
    target = Path(arguments[1]) if len(arguments) == 2 else Path(__file__).with_name("prior.npz")
    try:
        prior = fit(read_shapes(Path(arguments[0])))
    except PairError as error:
        raise SystemExit(str(error)) from None
    np.savez_compressed(target, mean=prior["mean"], modes=prior["modes"], residual=prior["residual"])
    yaw, pitch = (np.percentile(prior[k], (5, 25, 50, 75, 95)).round(1) for k in ("yaw", "pitch"))
    deviation = np.sqrt((prior["modes"] ** 2).sum((1, 2)) / NUM_POINTS).round(2)
    print(f"{target}: residual {prior['residual']:.2f} mm, yaw percentiles {yaw}, pitch {pitch}, modes mm {deviation}")


if __name__ == "__main__":
    main(sys.argv[1:])
