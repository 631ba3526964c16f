"""Duplicates: hand-computed hashes, exact and near pairs, and which of a pair stays."""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.data.packing.duplicates import (
    SAME_IMAGE,
    choose_drops,
    difference_hash,
    find_exact,
    find_near,
    thumbnail,
)
from tests.data.labelled_folders import face_image


def test_difference_hash_of_ramps() -> None:
    ramp = np.repeat(np.linspace(0, 250, 72).astype(np.uint8)[None], 72, axis=0)
    rising = cv2.merge([ramp, ramp, ramp])
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(rising[:, ::-1].copy()) == 0
    half = rising.copy()
    half[36:] = half[36:, ::-1]  # rows 0-3 of eight rise: the 32 high bits
    assert difference_hash(half) == 0xFFFFFFFF00000000


def test_exact_needs_the_same_face_of_the_same_image() -> None:
    image = np.array(["p", "q", "p", "p"])
    box = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]], float)
    # 0 and 2 share 90 of 110; 3 is another person in the image
    assert find_exact(image, box, np.arange(4)).tolist() == [[0, 2]]
    three = find_exact(np.array(["p"] * 3), box[[0, 0, 0]], np.array([2, 0, 1]))
    assert three.tolist() == [[0, 1], [1, 2]]  # both with row 1, the best
    assert find_exact(image[:0], box[:0], np.arange(0)).shape == (0, 2)


def test_near_finds_all_pairs_within_the_distance_across_blocks() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 3000, dtype=np.uint64)
    hashes[2999] = hashes[5] ^ np.uint64(0b1011)  # 3 bits
    hashes[1500] = hashes[7] ^ np.uint64(0b11111)  # 5 bits
    thumbs = np.tile(np.arange(256, dtype=np.uint8), (3000, 1))
    thumbs[2999] = thumbs[2999][::-1]
    pairs, similarity = find_near(hashes, thumbs, 4)
    assert pairs.tolist() == [[5, 2999]]
    assert similarity[0] == -1
    assert find_near(hashes, thumbs, 5)[0].tolist() == [[5, 2999], [7, 1500]]


def test_recompressed_copy_is_the_same_image_and_another_one_is_not() -> None:
    image = face_image(1)
    packed = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    crops = [image, packed, face_image(2)]
    hashes = np.array([difference_hash(c) for c in crops], np.uint64)
    thumbs = np.stack([thumbnail(c) for c in crops])
    pairs, similarity = find_near(hashes, thumbs, 64)  # every pair is within 64 bits
    alike = dict(zip(map(tuple, pairs.tolist()), similarity, strict=True))
    assert alike[0, 1] > SAME_IMAGE
    assert max(alike[0, 2], alike[1, 2]) < 0.9
    assert find_near(hashes, thumbs, 4)[0].tolist() == [[0, 1]]


def test_flat_crops_do_not_divide_by_zero() -> None:
    thumbs = np.stack([np.zeros(256), np.full(256, 9), np.zeros(256)]).astype(np.uint8)
    _, similarity = find_near(np.zeros(3, np.uint64), thumbs, 0)
    assert similarity.tolist() == [0, 1, 0]  # pairs 0-1, 0-2, 1-2


def test_drops_keep_the_better_rank_and_no_kept_pair() -> None:
    rank = np.array([3, 1, 2, 0])
    # a chain 1 - 2 - 0: row 1 stays, 2 goes, so 0 has no kept partner and stays
    assert choose_drops([(1, 2), (0, 2)], rank) == {2: 1}
    assert choose_drops([(0, 1), (0, 3), (1, 3)], rank) == {0: 3, 1: 3}
