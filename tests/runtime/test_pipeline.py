from pair_fld.runtime.detection import box_iou
from pair_fld.runtime.face import Face
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.pipeline import distinct_faces


def face(y: float, roll: float, score: float) -> Face:
    frame = Frame((100.0, y), 80.0, roll)
    return Face(place(frame), None, score, frame)


def test_a_face_seen_upside_down_on_another_is_not_a_second_one() -> None:
    upright, upside_down, beside = face(100, 0, 0.9), face(145, 175, 0.5), face(145, 20, 0.6)
    # boxes 80 wide and 68 high, 45 apart: 23 / (2 * 68 - 23) is a fifth
    assert 0.1 < box_iou(upright.box, upside_down.box[None])[0] < 0.4
    assert [f.score for f in distinct_faces([upside_down, upright])] == [0.9]
    assert [f.score for f in distinct_faces([beside, upright])] == [0.9, 0.6]


def test_of_one_face_found_twice_the_better_score_stays() -> None:
    assert [f.score for f in distinct_faces([face(100, 0, 0.4), face(104, 3, 0.8)])] == [0.8]
