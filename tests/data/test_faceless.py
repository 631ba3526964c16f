import numpy as np
import pytest

from pair_fld.data.synthetic.faceless import KINDS, draw_faceless


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_every_kind_is_drawn_and_known_by_its_numbers(number: int):
    kind, image = draw_faceless(3, number, 128)
    assert kind == KINDS[number]
    assert (image.shape, image.dtype) == ((128, 128, 3), np.uint8)
    assert image.std() > 5
    assert np.array_equal(image, draw_faceless(3, number, 128)[1])
    assert not np.array_equal(image, draw_faceless(4, number, 128)[1])
