import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from napari_iseg.errors import InputError
from napari_iseg.evaluation.clicks import ClickSimulator, deepest


def blobs(rng, shape, share):
    field = gaussian_filter(rng.random(shape), rng.uniform(0.7, 6))
    return field > np.quantile(field, 1 - share)


def plainly(region, skip):
    """The published rule without the bounding box."""
    distance = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1].astype(np.float32)
    for row, col in skip:
        distance[row, col] = 0
    return distance.max(), np.unravel_index(distance.argmax(), distance.shape)


def test_bounding_box_gives_the_same_click_as_the_whole_image():
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = tuple(rng.integers(1, 70, 2))
        region = blobs(rng, shape, rng.uniform(0.05, 0.9))
        region[:, : rng.integers(0, shape[1])] &= rng.random() < 0.5
        skip = [(int(rng.integers(shape[0])), int(rng.integers(shape[1]))) for _ in range(3)]
        depth, place = deepest(region, skip)
        expected_depth, expected_place = plainly(region, skip)
        assert depth == expected_depth
        assert place == expected_place


def test_first_click_lies_in_the_middle_of_the_object():
    truth = np.zeros((31, 41), np.uint8)
    truth[5:16, 10:31] = 1
    click = ClickSimulator(truth).next(np.zeros(truth.shape, bool))
    assert (click.row, click.col, click.positive) == (10, 15, True)


def test_tie_is_negative():
    truth = np.zeros((9, 20), np.uint8)
    truth[2:7, 2:7] = 1
    mask = np.zeros(truth.shape, bool)
    mask[2:7, 12:17] = True
    click = ClickSimulator(truth).next(mask)
    assert (click.row, click.col, click.positive) == (4, 14, False)


def test_ignored_pixels_are_no_error():
    truth = np.zeros((20, 20), np.int8)
    truth[:, 10:] = -1
    truth[2:5, 2:5] = 1
    mask = np.zeros(truth.shape, bool)
    mask[:, 10:] = True
    click = ClickSimulator(truth).next(mask)
    assert (click.row, click.col, click.positive) == (3, 3, True)


def test_pixel_is_not_clicked_twice():
    truth = np.ones((5, 5), np.uint8)
    simulator = ClickSimulator(truth)
    empty = np.zeros(truth.shape, bool)
    first, second = simulator.next(empty), simulator.next(empty)
    assert (first.row, first.col) == (2, 2)
    assert (second.row, second.col) != (2, 2)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"\(3, 4\).*\(5, 5\)"):
        ClickSimulator(np.ones((5, 5), np.uint8)).next(np.zeros((3, 4), bool))
    with pytest.raises(InputError, match="shape"):
        ClickSimulator(np.ones((5, 5, 3), np.uint8))
