"""Annotation that says less than it seems to: refused or warned of in words that name the cause."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_fakes import CopyFirst, GreyPredictor

import napari_iseg as iseg
from napari_iseg.errors import InputError
from napari_iseg.fewshot.areas import Areas

SIDE = 128
WHOLE = {"tile": SIDE, "halo": 0}
TILES = {"tile": 32, "halo": 4}
NEAR, FAR, BESIDE = (
    [(top, left), (top, left + 20), (top + 20, left + 20), (top + 20, left)]
    for top, left in ((4, 4), (90, 100), (300, 300))
)


def scene(*corners: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Bright objects on dark ground, without values from column 64 to 80; a label on each given corner."""
    image = np.full((SIDE, SIDE), 20, np.float32)
    for number, (row, col) in enumerate(((8, 8), (40, 8)), start=1):
        image[row : row + 8, col : col + 8] = 100 * number
    image[:, 64:80] = np.nan
    labels = np.zeros(image.shape, np.uint32)
    for number, (row, col) in enumerate(corners, start=1):
        labels[row : row + 8, col : col + 8] = number
    return image, labels


def clicks(*places: tuple[int, int, int, bool]) -> dict[tuple[()], list[tuple[int, iseg.Click]]]:
    return {(): [(label, iseg.Click(row, col, positive)) for label, row, col, positive in places]}


def said(folder: Path, image: Any, labels: Any, **options: Any) -> list[str]:
    """What a run warns of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        iseg.propagate(image, labels, folder / "a.zarr", GreyPredictor(), **options)
    assert all(each.filename == __file__ for each in found if each.category is UserWarning)
    return [str(each.message) for each in found if each.category is UserWarning]


def refusal(folder: Path, image: Any, labels: Any, **options: Any) -> str:
    """The one sentence with which a run is refused before the model is asked; nothing stays of it."""
    model = options.pop("model", None) or GreyPredictor()
    with pytest.raises(InputError) as refused:
        iseg.propagate(image, labels, folder / "a.zarr", model, **options)
    assert not getattr(model, "calls", [])
    assert not list(folder.iterdir())
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("other", [(), ((1, 10, 30, False),)])
def test_object_clicks_without_values(tmp_path, other):
    image, _ = scene()
    words = refusal(tmp_path, image, None, clicks=clicks((1, 10, 70, True), *other), **WHOLE)
    assert words.startswith("All labels and object clicks lie where the image has no values")


def test_background_clicks_alone(tmp_path):
    image, _ = scene()
    for col in (30, 70):
        words = refusal(tmp_path, image, None, clicks=clicks((1, 10, col, False)), **WHOLE)
        assert words.startswith("There are only background clicks")


def test_a_label_without_values_beside_background_clicks(tmp_path):
    image, labels = scene((8, 68))
    given = clicks((1, 10, 30, False))
    words = refusal(tmp_path, image, labels, clicks=given, complete=False, **WHOLE)
    assert words.startswith("All labels and object clicks lie where the image has no values")


@pytest.mark.parametrize("only", [[2], [1, 2]])
def test_a_chosen_label_that_is_painted_without_values(tmp_path, only):
    image, labels = scene((8, 8), (8, 68))
    words = refusal(tmp_path, image, labels, only=only, **TILES)
    assert words.startswith("The label 2 lies only where the image has no values")


def test_a_chosen_label_that_is_clicked_on_without_values(tmp_path):
    image, labels = scene((8, 8))
    words = refusal(tmp_path, image, labels, only=[2], clicks=clicks((2, 9, 70, True)), **TILES)
    assert words.startswith("The label 2 lies only where the image has no values")


def test_a_chosen_label_that_is_nowhere(tmp_path):
    image, labels = scene((8, 8), (8, 68))
    for label in (0, 3):
        words = refusal(tmp_path, image, labels, only=[label], **TILES)
        assert f"holds the label {label}; those that there are: 1, 2" in words


def test_methods_that_copy_need_no_values(tmp_path):
    image, labels = scene((8, 8), (8, 68))
    volume, painted = np.stack([image] * 2), np.stack([labels, np.zeros_like(labels)])
    report = iseg.propagate(volume, painted, tmp_path / "a.zarr", CopyFirst(), only=[2], **WHOLE)
    assert report.labels == (2,)


def test_several_labels_without_background_are_warned_of_once(tmp_path):
    image, labels = scene((8, 8), (40, 8))
    (words,) = said(tmp_path, image, labels, complete=False, **TILES)
    assert words.startswith(
        "Nothing is known to be background, so everything may be marked; annotate one area"
    )


def test_enough_annotation_is_not_spoken_of(tmp_path):
    image, labels = scene((8, 8), (40, 8))
    assert said(tmp_path, image, labels, **TILES) == []
    assert said(tmp_path, image, labels, existing="overwrite", complete=Areas.of([NEAR]), **TILES) == []
    given = clicks((1, 10, 10, True))
    assert said(tmp_path, image, None, existing="overwrite", clicks=given, **TILES) == []


def test_a_polygon_around_background_that_reaches_no_paint(tmp_path):
    """A tile is looked at around paint; a polygon beyond them is no annotation by itself."""
    image, labels = scene((8, 8))
    words = refusal(tmp_path, image, labels, complete=Areas.of([FAR]), **TILES)
    clause = "no painted slice or tile reaches the polygon around row 100, column 110; draw it around paint"
    assert words == f"Nothing is known to be background, so everything would be marked: {clause}."
    image, labels = scene((8, 8), (40, 8))
    (words,) = said(tmp_path, image, labels, complete=Areas.of([FAR]), **TILES)
    assert words == f"Nothing is known to be background, so everything may be marked: {clause}."


def test_one_polygon_of_several_that_reaches_no_paint(tmp_path):
    image, labels = scene((8, 8))
    (words,) = said(tmp_path, image, labels, complete=Areas.of([NEAR, FAR]), **TILES)
    assert words.startswith(
        "Not every polygon counts: no painted slice or tile reaches the polygon around row 100"
    )
    (words,) = said(
        tmp_path, image, labels, complete=Areas.of([BESIDE, NEAR, FAR]), existing="overwrite", **TILES
    )
    assert "around row 310, column 310 (and 1 more)" in words
    # in one piece all of them lie on what is painted
    assert said(tmp_path, image, labels, complete=Areas.of([NEAR, FAR]), existing="overwrite", **WHOLE) == []


def test_a_polygon_around_clicks_alone(tmp_path):
    image, _ = scene()
    given = clicks((1, 10, 10, True))
    (words,) = said(tmp_path, image, None, clicks=given, complete=Areas.of([NEAR]), **TILES)
    assert words.startswith("Not every polygon counts")


@pytest.mark.parametrize("given", ["clicks", "mask"])
def test_objects_without_values_in_images_given_one_by_one(given):
    image, labels = scene((8, 68))
    fewshot = iseg.FewShot(GreyPredictor())
    if given == "clicks":
        fewshot.add_support(image, clicks=[(10, 70, True), (10, 30, False)])
    else:
        fewshot.add_support(image, labels.astype(np.int32))
    with pytest.raises(InputError, match="painted pixel where its image has values"):
        fewshot.segment(image)
