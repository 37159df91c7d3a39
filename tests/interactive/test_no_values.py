"""A click where nothing was seen: there is no object, and no network is asked; nor does one reach there."""

from __future__ import annotations

import numpy as np
import pytest
from click_fakes import FakeModel

from napari_iseg.images import PlaneSource
from napari_iseg.images.nodata import Masked
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.interactive.session import Session
from napari_iseg.prompts import Box, Click

HOLE = np.s_[40:48, 20:28]


def everywhere(prompts: tuple[str, ...] = ("click",)) -> FakeModel:
    model = FakeModel()
    model.network = lambda image, _mask, _clicks: image[:, :1] * 0 + 9  # an object everywhere
    model.card.prompts = prompts
    return model


@pytest.fixture(scope="module", params=["NaN", "nodata"])
def source(request) -> PlaneSource:
    """60 x 80, of which the first 15 columns and a hole have no value."""
    values = np.random.default_rng(0).integers(1, 99, (60, 80))
    values[:, :15] = values[HOLE] = 0
    if request.param == "NaN":
        return PlaneSource.wrap(np.where(values == 0, np.nan, values))
    return PlaneSource.wrap(Masked(values.astype(np.uint16), np.uint16(0)))


def seen() -> np.ndarray:
    valid = np.ones((60, 80), bool)
    valid[:, :15] = valid[HOLE] = False
    return valid


@pytest.mark.parametrize("plane", [0, 1])
def test_a_plane_without_values_holds_no_object(plane):
    stack = np.full((2, 60, 60), np.nan)
    stack[1, 20:30, 20:30] = np.linspace(0, 1, 100).reshape(10, 10)
    state = Predictor(PlaneSource.wrap(stack), everywhere(), (plane,)).step(None, Click(25, 25))
    assert state.clicks == (Click(25, 25),)
    np.testing.assert_array_equal(state.probability > 0.5, np.isfinite(stack[plane]))


def test_an_object_has_no_pixel_without_a_value(source):
    predictor = Predictor(source, everywhere(("click", "box")))
    for state in (
        predictor.step(None, Click(30, 40)),
        predictor.step(predictor.step(None, Click(30, 40)), Click(5, 50)),
        predictor.step(None, None, box=Box(10, 5, 40, 60)),
    ):
        np.testing.assert_array_equal(state.probability > 0.5, seen())
        assert not state.probability[~seen()].any()


@pytest.mark.parametrize("click", [Click(30, 5), Click(44, 24), Click(0, 0)])
def test_a_click_on_a_pixel_without_a_value_finds_nothing(source, click):
    model = everywhere()
    predictor = Predictor(source, model)
    nothing = predictor.step(None, click)
    assert not nothing.probability.any()
    assert model.forwards == 0
    found = predictor.step(nothing, Click(30, 40))  # another click finds it
    np.testing.assert_array_equal(found.probability > 0.5, seen())
    after = predictor.step(found, click)  # one more there changes nothing outside
    np.testing.assert_array_equal(after.probability > 0.5, seen())


def test_a_box_without_values_finds_nothing(source):
    model = everywhere(("click", "box"))
    assert not Predictor(source, model).step(None, None, box=Box(10, 2, 40, 15)).probability.any()
    assert model.forwards == 0


def test_on_a_coarse_grid_the_object_ends_where_the_values_do():
    values = np.full((300, 2300), np.nan, np.float32)
    values[:, 1001:] = np.random.default_rng(0).random((300, 1299))
    values[101:104, 1501:1504] = np.nan
    session = Session(values, everywhere())
    mask = session.click((150, 1200), view=(0, 0, 300, 2300))
    assert session.patch.scale > 1
    np.testing.assert_array_equal(mask, np.isfinite(values))
    assert not session.probability[~mask].any()
    session.commit()
    np.testing.assert_array_equal(session.labels.levels[0][:] > 0, mask)


def test_refined_edges_end_where_the_values_do(source):
    class Everything:
        size, threshold = 128, 0.5

        def probability(self, image, mask, box=None):
            return np.ones(mask.shape, np.float32)

    session = Session(source, everywhere())
    session.click((30, 40))
    np.testing.assert_array_equal(session.refine_edges(Everything()), seen())
    session.undo()
    np.testing.assert_array_equal(session.mask, seen())
