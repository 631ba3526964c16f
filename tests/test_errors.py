"""Errors are whole sentences, and stay so across processes."""

from __future__ import annotations

import pickle

from pair_fld.errors import PairError


def test_errors_come_out_of_another_process_with_all_their_parts() -> None:
    fields = PairError("face.jpg", "a photograph", "an empty file", "Copy it again.")
    sentence = PairError("x*.jpg", message="No images match 'x*.jpg'.", remedy="Correct the pattern.")
    for error in (fields, sentence):
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), vars(copy)) == (str(error), vars(error))
