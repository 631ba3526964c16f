"""How heads differ: `python -m pair_fld.data.synthetic.head_shape` prints the numbers of `runtime/head_shape.py`."""

from __future__ import annotations

import numpy as np

from pair_fld.data.synthetic.shape import draw_head, load_prior
from pair_fld.runtime.mean_face import MEAN_FACE

HEADS, MODES, SEED = 1000, 4, 5


def head_shape() -> tuple[np.ndarray, np.ndarray]:
    """The mean head (51, 3) and its modes (4, 51, 3), one standard deviation each, in the mean face's coordinates
    with z away from the viewer.

    The prior's mean gives the depths; the mean and the principal components of drawn heads, each laid onto it by the
    best similarity in space (Umeyama, PAMI 1991), give the rest: identity and expression in one.
    """
    mean = load_prior().mean
    unit = float(np.ptp(mean[:, 0]))
    head = np.column_stack([MEAN_FACE, -mean[:, 2] / unit])
    rng = np.random.default_rng(SEED)
    drawn = (draw_head(rng).points * (1, -1, -1) / unit for _ in range(HEADS))
    differences = np.array([_laid_onto(points, head) - head for points in drawn]).reshape(HEADS, -1)
    middle = differences.mean(axis=0)
    _, strengths, directions = np.linalg.svd(differences - middle, full_matrices=False)
    modes = directions[:MODES] * strengths[:MODES, None] / np.sqrt(HEADS)
    modes *= np.sign(modes.sum(axis=1, keepdims=True))
    return head + middle.reshape(51, 3), modes.reshape(MODES, 51, 3)


def _laid_onto(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    a, b = points - points.mean(axis=0), target - target.mean(axis=0)
    u, s, v = np.linalg.svd(b.T @ a)
    mirror = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ v)))])
    turn = u @ mirror @ v
    return a @ turn.T * float((s * np.diag(mirror)).sum() / np.square(a).sum()) + target.mean(axis=0)


def _rows(values: np.ndarray) -> str:
    return "\n".join(
        "    " + " ".join(f"({x:.4f}, {y:.4f}, {z:.4f})," for x, y, z in values[k : k + 3])
        for k in range(0, len(values), 3)
    )


if __name__ == "__main__":
    head, modes = head_shape()
    print(_rows(head))
    for mode in modes:
        print("(\n" + _rows(mode) + "\n),")
