"""A click where nothing was seen: there is no object, and no network is asked."""

from __future__ import annotations

import numpy as np
import pytest
from click_fakes import FakeModel

from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click


@pytest.mark.parametrize("plane", [0, 1])
def test_a_plane_without_values_holds_no_object(plane):
    stack = np.full((2, 60, 60), np.nan)
    stack[1, 20:30, 20:30] = np.linspace(0, 1, 100).reshape(10, 10)
    model = FakeModel()
    model.network = lambda image, _mask, _clicks: image[:, :1] * 0 + 9  # an object everywhere
    state = Predictor(PlaneSource.wrap(stack), model, (plane,)).step(None, Click(45, 45))
    assert state.clicks == (Click(45, 45),)
    assert (state.probability > 0.5).any() == bool(plane)
