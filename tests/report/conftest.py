"""Rendered faces with labels: no photograph of a person is used here."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from pair_fld.data.synthetic import render_scene

FACES = 24


@pytest.fixture(scope="session")
def rendered_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FACES rendered images, each with one face and its .pts."""
    folder = tmp_path_factory.mktemp("rendered") / "faces"
    folder.mkdir()
    for k in range(FACES):
        scene = render_scene(9, k, 320, faces=1)
        cv2.imwrite(str(folder / f"{k:02d}.png"), scene.image)
        points = "\n".join(f"{x:.3f} {y:.3f}" for x, y in scene.faces[0])
        (folder / f"{k:02d}.pts").write_text(f"version: 1\nn_points: 51\n{{\n{points}\n}}\n")
    return folder
