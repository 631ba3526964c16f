from pair_fld.submit.card import annotator_lines

MESH = {"title": "a mesh", "licence": "Apache 2.0"}
TREES = {"title": "trees", "licence": "Boost", "warning": "They have seen the test images."}


def test_the_card_says_what_each_annotator_did() -> None:
    sources = [
        {"name": "a", "annotator": MESH, "second_opinion": {"averaged_points": 7}},
        {"name": "b", "annotator": MESH, "second_opinion": {"averaged_points": 0, "relabelled_faces": 3}},
        {"name": "c", "annotator": MESH, "second_opinion": {"averaged_points": 1}},
        {"name": "d", "annotator": TREES},
        {"name": "e", "second_opinion": None},
    ]
    record = {"data_report": {"sources": sources}, "annotators": [TREES]}
    assert annotator_lines(record) == [
        "averaged into the labels of a, c: a mesh, Apache 2.0.",
        "the labels of b: a mesh, Apache 2.0.",
        "the labels of d: trees, Boost. They have seen the test images.",
        "the teacher's predictions: trees, Boost. They have seen the test images.",
    ]
