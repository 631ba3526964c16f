"""Enlarge a data set, to measure how data larger than memory streams.

    python -m pair_fld.benchmarks.enlarge_dataset PACK OUT --faces N

The faces are its own, repeated, in real files of their full size.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np

from pair_fld.data.dataset import SHARD, FaceDataset, FaceTable
from pair_fld.io import write_json
from pair_fld.runs import RECORD, claim_folder


def enlarge(dataset: FaceDataset, out: Path, faces: int) -> None:
    """Write a data set of `faces` faces into the new folder `out`; PairError when it is not empty."""
    claim_folder(out, "scaled dataset", resumes=False)
    rows = np.resize(np.arange(len(dataset)), faces)
    for number, first in enumerate(range(0, faces, SHARD)):
        np.save(out / f"shard-{number:05d}.npy", dataset.images(rows[first : first + SHARD]))
    FaceTable(**{f.name: getattr(dataset.faces, f.name)[rows] for f in fields(FaceTable)}).save(out / "faces.npz")
    write_json(out / RECORD, dataset.record | {"data_hash": f"{dataset.data_hash} x {faces}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--faces", type=int, required=True)
    given = parser.parse_args()
    dataset = FaceDataset(given.dataset)
    need, free = given.faces * dataset.size**2 * 3, shutil.disk_usage(given.out.absolute().parent).free
    if need > 0.9 * free:
        parser.error(f"{need / 1e9:.0f} GB are needed, {free / 1e9:.0f} GB are free at {given.out}")
    enlarge(dataset, given.out, given.faces)


if __name__ == "__main__":
    main()
