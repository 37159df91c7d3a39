"""The few-shot dock where layers have several units of length, all shown in the smallest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks

from .conftest import NO_WINDOW
from .fewshot_bench import VOLUME

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_request import areas_of, frame_of

COARSE = {"scale": (2, 0.12, 0.12), "units": ("um", "um", "um")}
FINE = {"scale": (2000, 120, 120), "units": ("nm", "nm", "nm")}


def clicks_of(fewshot: Any) -> dict[Any, Any]:
    given = fewshot.dock.controller._given()
    return {plane: [(label, click.row, click.col) for label, click in x] for plane, x in given.items()}


def test_a_click_lies_where_the_viewer_shows_it(fewshot):
    dock = fewshot.open(**COARSE)
    fewshot.viewer.add_image(VOLUME, visible=False, name="finer", **FINE)
    dock.clicks.activated.emit(1)  # "new layer…"
    layer = dock.clicks.layer
    event = {"pos": np.array([50.0, 50.0]), "position": (3 * 2000.0, 6 * 120.0, 9 * 120.0), "modifiers": []}
    mouse_press_callbacks(layer, read_only_mouse_event(type="mouse_press", button=1, **event))
    mouse_release_callbacks(layer, read_only_mouse_event(type="mouse_release", button=1, **event))
    np.testing.assert_allclose(layer.data, [(3, 6, 9)])
    assert clicks_of(fewshot) == {(3,): [(1, pytest.approx(6), pytest.approx(9))]}


def test_points_and_polygons_in_another_unit_lie_where_they_are_shown(fewshot):
    dock = fewshot.open(**COARSE)
    fewshot.viewer.add_points([(3, 6, 9)], name="points", **FINE)
    dock.clicks.setCurrentText("points")
    dock.clicks.activated.emit(dock.clicks.currentIndex())
    assert clicks_of(fewshot) == {(3,): [(1, pytest.approx(6), pytest.approx(9))]}
    square = [(3, 0, 0), (3, 0, 8), (3, 8, 8), (3, 8, 0)]
    shapes = fewshot.viewer.add_shapes([square], **FINE)
    areas = areas_of(fewshot.viewer, shapes, fewshot.image, frame_of(fewshot.image, 0))
    np.testing.assert_allclose(areas.polygons[0][0], [(0, 0), (0, 8), (8, 8), (8, 0)], atol=1e-9)
