"""Which loaded faces stay, and in which split: people never cross the splits, nor does an image.

Rules, in this order: the split is fixed by the source, or by a hash of the person. A person who is in
several splits stays in the strictest one (test, then validation). Of duplicates one face stays: that in the
strictest split, so that what is measured is never thinned out by what is learnt; then that with the better
label (human, machine, none); then the earlier one. Test faces all stay: a benchmark is scored whole; the
duplicates among them are counted.

Near duplicates are left out when their crops are nearly the same image. The other pairs that are close in
hash are frames of one video, or portraits that only resemble each other: they stay and are counted. (Looked
at on 13,649 faces: within 4 bits lie pairs of different people with correlations up to 0.94, frames of one
person with different mouths up to 0.994, and copies that differ in size or compression mostly from 0.996 on.)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from pair_fld.config import DataConfig
from pair_fld.data.dataset import SPLITS, Split
from pair_fld.data.packing.duplicates import SAME_IMAGE, choose_drops, find_exact, find_near
from pair_fld.data.packing.parts import LoadedFaces
from pair_fld.data.sample import (
    ACROSS_SPLITS,
    EXACT_DUPLICATE,
    NEAR_DUPLICATE,
    PERSON_ACROSS_SPLITS,
    Excluded,
    Sample,
)

# Across the splits less likeness is enough (copies with changed colours reach down to it): a lost training
# face costs nothing, a leak falsifies the measurement.
SAME_ACROSS_SPLITS = 0.95


@dataclass(frozen=True)
class Selection:
    """kept: numbers of the rows that stay, ascending. split: (N,) of all rows. near_kept: pairs close in
    hash that stay. test_pairs: duplicate pairs among the test faces, which stay too.
    """

    kept: np.ndarray
    split: np.ndarray
    left_out: list[Excluded] = field(default_factory=list)
    near_kept: int = 0
    test_pairs: int = 0


def split_of(identity: str, fraction: float, seed: int) -> int:
    """Split.TRAIN or Split.VALID by a hash of identity and seed alone: adding or removing other data moves nobody."""
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    return Split.VALID if int.from_bytes(digest[:8], "big") < fraction * 2**64 else Split.TRAIN


def select(config: DataConfig, samples: list[Sample], rows: LoadedFaces) -> Selection:
    """Apply the rules of this module to the rows of `parts.read_rows`."""
    mine = [samples[k] for k in rows.index]
    split = np.array([_split(config, sample) for sample in mine], np.uint8)
    drawn = np.array([config.sources[sample.source].split == "auto" for sample in mine], bool)
    split[drawn] = _keep_images_whole(split[drawn], rows.image_hash[drawn])
    left_out: list[Excluded] = []
    alive = np.ones(len(mine), bool)

    held: dict[str, int] = {}  # person -> the split that holds them most strictly
    for sample, side in zip(mine, split, strict=True):
        if sample.identity is not None:
            held[sample.identity] = max(held.get(sample.identity, Split.TRAIN), int(side))
    for k, sample in enumerate(mine):
        if sample.identity is not None and split[k] < held[sample.identity]:
            alive[k] = False
            sentence = f"{sample.key}: {sample.identity} is a person of the {SPLITS[held[sample.identity]]} split"
            left_out.append(Excluded(sample.key, sample.source, PERSON_ACROSS_SPLITS, sentence))

    rank = np.empty(len(mine), np.int64)
    rank[np.lexsort((np.arange(len(mine)), rows.label, -split.astype(int)))] = np.arange(len(mine))
    numbers = np.flatnonzero(alive)
    exact = numbers[find_exact(rows.image_hash[numbers], rows.box_img[numbers], rank[numbers])]
    close, similarity = find_near(rows.near_hash[numbers], rows.thumb[numbers], config.near_duplicate_distance)
    close = numbers[close]
    crosses = split[close[:, 0]] != split[close[:, 1]]
    near = close[similarity >= np.where(crosses, SAME_ACROSS_SPLITS, SAME_IMAGE)]

    pairs = np.unique(np.concatenate([exact, near]), axis=0)
    both_test = (split[pairs] == Split.TEST).all(axis=1)
    drops = choose_drops(pairs[~both_test], rank)
    exact_pairs = set(map(tuple, exact.tolist()))
    for row, kept in sorted(drops.items()):
        alive[row] = False
        same = "the same image as" if tuple(sorted((row, kept))) in exact_pairs else "nearly the same image as"
        reason = EXACT_DUPLICATE if same == "the same image as" else NEAR_DUPLICATE
        if split[row] != split[kept]:
            reason = ACROSS_SPLITS
        sentence = f"{mine[row].key}: {same} {mine[kept].key}"
        left_out.append(Excluded(mine[row].key, mine[row].source, reason, sentence))
    near_kept = int(alive[close].all(axis=1).sum())
    return Selection(np.flatnonzero(alive), split, left_out, near_kept, int(both_test.sum()))


def _keep_images_whole(split: np.ndarray, image_hash: np.ndarray) -> np.ndarray:
    """The drawn splits (N,) with all faces of one image in the strictest of theirs; image_hash: (N,) pixel hashes."""
    _, group = np.unique(image_hash, return_inverse=True)
    strictest = np.zeros(group.max(initial=0) + 1, split.dtype)
    np.maximum.at(strictest, group, split)
    return strictest[group]


def _split(config: DataConfig, sample: Sample) -> int:
    source = config.sources[sample.source]
    if source.split != "auto":
        return SPLITS.index(source.split)
    # a person is the same in every source that names people; without a name each face stands for itself
    identity = f"person:{sample.identity}" if sample.identity is not None else f"face:{source.name}:{sample.key}"
    return split_of(identity, config.valid_fraction, config.seed)
