from pathlib import Path

import numpy as np
import pytest

from pair_fld.runtime.landmark_files import format_faces, order_right_to_left, read_faces, read_one_face, write_faces

TWO = "version: 1(right one)\nn_points: 2\n{\n10.5 20\n11 21\n}\nversion: 1(left one)\nn_points: 2\n{\n1 2\n3 4\n}\n"


def face(x: float) -> np.ndarray:
    return np.array([[x, 1.0], [x + 10.0, 4.25]])


def test_both_header_forms_and_several_faces(tmp_path: Path):
    file = tmp_path / "two.txt"
    file.write_text(TWO)
    first, second = read_faces(file)
    assert first.tolist() == [[10.5, 20], [11, 21]]
    assert second.tolist() == [[1, 2], [3, 4]]
    file.write_text(TWO.replace("(right one)", "").replace("(left one)", ""))
    assert [f.tolist() for f in read_faces(file)] == [first.tolist(), second.tolist()]


def test_windows_ends_bom_blank_lines_and_commas(tmp_path: Path):
    file = tmp_path / "odd.pts"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\r\nn_points:  2\r\n\r\n{\r\n1, 2\r\n 3\t4 \r\n}\r\n")
    assert read_one_face(file).tolist() == [[1, 2], [3, 4]]


def test_an_empty_file_holds_no_face(tmp_path: Path):
    write_faces(tmp_path / "none.txt", [])
    assert (tmp_path / "none.txt").read_bytes() == b""
    assert read_faces(tmp_path / "none.txt") == []


def test_written_text_by_hand():
    assert format_faces([face(0.0)]) == "version: 1\nn_points: 2\n{\n0.000 1.000\n10.000 4.250\n}\n"


def test_round_trip_leaves_no_temporary_file(tmp_path: Path):
    faces = [np.random.default_rng(i).uniform(-20, 1500, (51, 2)) for i in range(3)]
    write_faces(tmp_path / "faces.txt", faces)
    back = read_faces(tmp_path / "faces.txt")
    assert len(back) == 3
    assert max(np.abs(a - b).max() for a, b in zip(faces, back, strict=True)) <= 0.0005
    assert [p.name for p in tmp_path.iterdir()] == ["faces.txt"]


def test_order_is_by_box_centre_from_right_to_left():
    wide = np.array([[0.0, 0.0], [100.0, 0.0]])  # centre 50, though it reaches further right than the others
    ordered = order_right_to_left([face(10), wide, face(70)])
    assert [f[0, 0] for f in ordered] == [70, 0, 10]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version: 1\nn_points: 2\n{\n1 2\n", "the last block has no closing '}', the file seems cut short"),
        ("version: 1\nn_points: 3\n{\n1 2\n}\n", "the header promises 3 points, the block holds 1"),
        ("version: 1\nn_points: 3\n", "'n_points: 3' is not followed by a block of points"),
        ("n_points: 1\n{\n1 2 3\n}\n", "line 3: expected two numbers 'x y', found '1 2 3'"),
        ("n_points: 1\n{\n1 x\n}\n", "line 3: expected two numbers 'x y', found '1 x'"),
        ("hello\n", "line 1: expected 'version:', 'n_points:' or '{', found 'hello'"),
    ],
)
def test_damaged_files_get_one_sentence(tmp_path: Path, text: str, sentence: str):
    file = tmp_path / "bad.pts"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.pts") as error:
        read_faces(file)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_label_file_must_hold_one_face(tmp_path: Path):
    file = tmp_path / "two.pts"
    file.write_text(TWO)
    with pytest.raises(ValueError, match="expected one face, found 2"):
        read_one_face(file)
