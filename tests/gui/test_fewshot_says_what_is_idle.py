"""The few-shot dock says which clicks and labels change nothing, and when nothing is background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.collect import collect, doubts
from napari_iseg.fewshot.frame import Frame, Grid
from napari_iseg.fewshot.plan import Plan, Rules
from napari_iseg.fewshot.support_store import SupportStore
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Click

from .conftest import NO_WINDOW

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_clicks import warn_of_ignored

SHAPE = 64, 64


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    monkeypatch.setattr("napari_iseg.widgets.fewshot_clicks.warn", heard.append)
    return heard


def warned(
    folder: Path, labels: np.ndarray, *, tile: int = 24, on_grid: bool = False, **given: object
) -> None:
    image = np.zeros(SHAPE, np.float32)
    image[:, 40:] = np.nan
    frame, grid = Frame.of(SHAPE), Grid(SHAPE, tile, 4)
    store = SupportStore(folder / "supports")
    source = PlaneSource.wrap(image)
    refs = collect(source, labels, frame, grid, store, on_grid=on_grid, **given)  # type: ignore[arg-type]
    plan = Plan(frame, grid, Rules("grey", "", (1,), on_grid=on_grid), refs, [()])
    warn_of_ignored(plan, doubts(refs, given.get("complete", True), copied=on_grid))  # type: ignore[arg-type]


def painted(*corners: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint32)
    for number, (row, col) in enumerate(corners, 1):
        labels[row : row + 6, col : col + 6] = number
    return labels


def test_a_useful_click_is_not_spoken_of(tmp_path, said):
    warned(tmp_path, painted((4, 4)), clicks={(): [(1, Click(50, 20))]})
    assert said == []


@pytest.mark.parametrize(("tile", "where"), [(24, "tile 0,0"), (64, "the scene")])
def test_clicks_where_every_pixel_is_labelled(tmp_path, said, tile, where):
    warned(tmp_path, painted((4, 4)), tile=tile, clicks={(): [(1, Click(5, 5))]})
    (sentence,) = said
    assert sentence.startswith(f"Clicks on {where} change nothing, every pixel is labelled there")


def test_clicks_and_labels_where_the_image_has_no_values(tmp_path, said):
    warned(tmp_path, painted((4, 4), (4, 54)), clicks={(): [(1, Click(50, 60))]})
    assert said == [
        "Clicks on tile 38,40 lie where the image has no values and change nothing.",
        "Labels on tile 0,40 lie where the image has no values: nothing is learnt from them.",
    ]


def test_labels_without_background(tmp_path, said):
    warned(tmp_path, painted((4, 4), (30, 4)), complete=False)
    (sentence,) = said
    assert sentence.startswith("Nothing is known to be background, so everything may be marked")


def test_nothing_is_said_where_masks_are_copied_or_an_area_is_complete(tmp_path, said):
    warned(tmp_path, painted((4, 4), (4, 54)), complete=False, on_grid=True)
    warned(tmp_path, painted((4, 4)), complete=Areas.of([[(0, 0), (0, 20), (20, 20), (20, 0)]]))
    assert said == []
