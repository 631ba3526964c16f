import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.errors import PairError
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.landmark_files import format_faces, write_faces
from pair_fld.submit.compare import compare

FACE = place(Frame((100, 100), 80))
EYES = float(np.linalg.norm(FACE[28] - FACE[19]))


def archive(folder: Path, name: str, text: str) -> Path:
    """A submission that writes the same text for every image."""
    script = (
        "import sys, pathlib\nout = pathlib.Path(sys.argv[2]); out.mkdir()\n"
        "for name in open(sys.argv[1]).read().splitlines():\n"
        f"    (out / (pathlib.Path(name).stem + '.txt')).write_text({text!r})\n"
    )
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("run_model.py", script)
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = []
    for k in range(2):
        paths.append(tmp_path / "set/images" / f"{k}.png")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes())
        (tmp_path / "set/labels").mkdir(exist_ok=True)
        write_faces(tmp_path / "set/labels" / f"{k}.pts", [FACE])
    return paths


def test_submissions_are_measured_end_to_end(tmp_path: Path, images: list[Path]):
    exact = archive(tmp_path, "exact", format_faces([FACE]))
    # 3 % of the eye distance to the right: nothing but another zero point
    shifted = archive(tmp_path, "shifted", format_faces([FACE + [0.03 * EYES, 0]]))
    blind = archive(tmp_path, "blind", "")
    truth = {path.stem: [FACE] for path in images}
    found = compare([exact, shifted, blind], images, truth, install=False, python=sys.executable)
    one, two, three = (entry.to_json() for entry in found)
    assert [entry.name for entry in found] == ["exact", "shifted", "blind"]
    assert one["nme_outer_corners_percent"] == pytest.approx(0, abs=0.01)
    assert two["nme_outer_corners_percent"] == pytest.approx(3, abs=0.01)
    assert two["nme_outer_corners_shift_removed_percent"] == pytest.approx(0, abs=0.01)
    assert two["label_shift"]["x_percent"] == pytest.approx(-3, abs=0.01)  # the labels lie to the left of it
    assert (three["found_faces"], three["nme_outer_corners_percent"]) == (0, None)
    assert [entry.failure_percent for entry in found] == [0, 0, 100]
    assert found[0].ratio == 1
    assert found[1].ratio > 0


def test_one_archive_is_no_comparison(tmp_path: Path, images: list[Path]):
    exact = archive(tmp_path, "exact", "")
    for archives in ([exact], [exact, exact]):
        with pytest.raises(PairError, match="two or more different archives"):
            compare(archives, images, {}, install=False)
