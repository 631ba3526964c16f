"""Duplicate faces: the same image twice, and images that differ only by size, compression or colour.

Exact: the decoded images have the same sha256 and the face boxes overlap (images may show several
people). Near: the 64-bit difference hashes of the grey loose crops (N. Krawetz, "Kind of Like That", 2013)
lie within a Hamming distance, and small grey copies of the two crops correlate. The hash alone is a filter,
not evidence: aligned faces resemble each other, and frames of one video are near in hash without being one
image.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from pair_fld.runtime.detection import box_iou

HASH_BITS = 64
THUMB = 16  # side of the small grey copy
# Pearson correlation of the small copies from which two crops are taken for one image.
SAME_IMAGE = 0.995
SAME_FACE_OVERLAP = 0.5  # intersection over union of the boxes in one image
_BLOCK = 1024  # rows compared at once: bounds the memory for the table of distances


def difference_hash(crop: np.ndarray) -> int:
    """64-bit dHash of a (S, S, 3) uint8 BGR crop, from a grey copy of 8 rows and 9 columns.

    Row by row from the highest bit down, a bit says whether grey rises from one column to the next.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int(np.packbits(bits).view(">u8")[0])


def thumbnail(crop: np.ndarray) -> np.ndarray:
    """Small grey copy (THUMB * THUMB,) uint8 of a (S, S, 3) uint8 BGR crop."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA).ravel()


def find_exact(image_hash: np.ndarray, box_img: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Rows that show the same face of the same image, each paired with the best-ranked of them.

    Args:
        image_hash: (N,) hashes.
        box_img: (N, 4).
        rank: (N,) distinct numbers, the lower the better.

    Returns:
        (M, 2) pairs of row numbers, i < j.
    """
    faces_of: dict[str, list[int]] = {}
    pairs = []
    for row in np.argsort(rank).tolist():
        faces = faces_of.setdefault(str(image_hash[row]), [])
        overlaps = box_iou(box_img[row], box_img[np.array(faces, np.int64)]) >= SAME_FACE_OVERLAP
        if overlaps.any():
            pairs.append(sorted((faces[int(overlaps.argmax())], row)))
        else:
            faces.append(row)
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def find_near(hashes: np.ndarray, thumbs: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose hashes differ in at most `distance` bits, and how alike their small copies are.

    Compares all with all in cache-sized blocks.

    Args:
        hashes: (N,) uint64.
        thumbs: (N, THUMB * THUMB) uint8.

    Returns:
        pairs (M, 2) int64, i < j; similarity (M,), Pearson correlation, 1 for equal copies.
    """
    hashes = np.asarray(hashes, np.uint64)
    first, second = [], []
    for a in range(0, len(hashes), _BLOCK):
        rows = hashes[a : a + _BLOCK, None]
        for b in range(a, len(hashes), _BLOCK):
            close = np.bitwise_count(rows ^ hashes[None, b : b + _BLOCK]) <= distance
            i, j = np.nonzero(close)
            ahead = i + a < j + b
            first.append(i[ahead] + a)
            second.append(j[ahead] + b)
    i = np.concatenate(first) if first else np.zeros(0, np.int64)
    j = np.concatenate(second) if second else np.zeros(0, np.int64)
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    similarity = np.zeros(len(i))
    for k in range(0, len(i), 65536):
        part = slice(k, k + 65536)
        similarity[part] = _correlation(thumbs[i[part]], thumbs[j[part]])
    return np.column_stack([i, j]), similarity


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise Pearson correlation; 1 where the rows are equal, 0 where one is flat and they differ."""
    equal = (a == b).all(axis=1)
    a, b = (x.astype(np.float64) - x.mean(axis=1, keepdims=True) for x in (a, b))
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(equal, 1.0, (a * b).sum(axis=1) / np.where(norm > 0, norm, np.inf))


def choose_drops(pairs: Iterable[tuple[int, int]], rank: np.ndarray) -> dict[int, int]:
    """Which of the paired rows to leave out so that no kept row has a kept partner.

    Rows are visited by rank, lowest first; a row is left out when a partner of it has been kept.

    Args:
        rank: (N,) distinct numbers; the lower one of a pair is preferred.

    Returns:
        {row left out: the kept row that it duplicates}.
    """
    partners: dict[int, list[int]] = {}
    for i, j in pairs:
        partners.setdefault(int(i), []).append(int(j))
        partners.setdefault(int(j), []).append(int(i))
    drops: dict[int, int] = {}
    for row in sorted(partners, key=lambda r: rank[r]):
        kept = [p for p in partners[row] if rank[p] < rank[row] and p not in drops]
        if kept:
            drops[row] = min(kept, key=lambda p: rank[p])
    return drops
