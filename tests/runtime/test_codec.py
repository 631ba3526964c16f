import numpy as np

from pair_fld.runtime.codec import cell_centres, encode_gaussian, heatmap_moments, simcc_moments


def test_cell_centres_by_hand():
    np.testing.assert_allclose(cell_centres(4), [-0.75, -0.25, 0.25, 0.75])


def test_decode_by_hand():
    # two equal peaks in the outer cells of the first row: the mean x is 0, y the first row's centre
    logits = np.full((1, 2, 4), -1e4)
    logits[0, 0, [0, 3]] = 0.0
    np.testing.assert_allclose(heatmap_moments(logits)[0], [[0.0, -0.5]], atol=1e-6)


def test_gaussians_return_their_points_below_a_hundredth_of_a_cell():
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (51, 2))
    heat = encode_gaussian(points, 64, sigma=1.5)
    np.testing.assert_allclose(heat.sum(axis=(-2, -1)), 1.0, atol=1e-6)
    back = heatmap_moments(np.log(heat + 1e-30))[0]
    assert np.abs(back - points).max() < 0.01 * 2 / 64


def test_gaussian_peak_sits_in_the_points_cell():
    heat = encode_gaussian(np.array([[0.25, -0.75]]), 4, sigma=0.5)
    assert np.unravel_index(heat[0].argmax(), (4, 4)) == (0, 2)  # row y, column x


def test_simcc_by_hand():
    # four bins an axis, centres -3/4 ... 3/4: x certain of the third, y half in the first and half in the second
    logits = np.full((1, 8), -1e4)
    logits[0, 2] = logits[0, 4] = logits[0, 5] = 0.0
    np.testing.assert_allclose(simcc_moments(logits)[0], [[0.25, -0.5]], atol=1e-6)


def test_simcc_returns_gaussians_points_below_a_tenth_of_a_pixel():
    points, bins, size = np.random.default_rng(0).uniform(-0.8, 0.8, (51, 2)), 192, 96
    logits = -(((cell_centres(bins) - points[..., None]) * bins / 2 / 2.0) ** 2) / 2  # sigma of 2 bins
    back = simcc_moments(logits.reshape(51, 2 * bins))[0]
    assert np.abs(back - points).max() * size / 2 < 0.01
