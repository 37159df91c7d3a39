"""Clicks far from what is painted, paint without background, and annotation where the image has no values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from run_fakes import CopyFirst, GreyPredictor, blobs, sparse

import napari_iseg as iseg
from napari_iseg.errors import InputError
from napari_iseg.fewshot.free_embedding import FreeEmbedding
from napari_iseg.fewshot.training_free import TrainingFree
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click

SIDE = 96
AREA = iseg.Areas.of([[(0, 0), (0, 31), (31, 31), (31, 0)]])


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Bright objects in the dark; one corner is painted."""
    image = np.full((SIDE, SIDE), 20, np.uint8)
    for row, col in ((8, 8), (60, 60), (60, 84), (78, 60)):
        image[row : row + 10, col : col + 10] = 200
    labels = np.zeros((SIDE, SIDE), np.uint32)
    labels[8:18, 8:18] = 1
    return image, labels


def gap() -> tuple[np.ndarray, np.ndarray]:
    """The same as numbers of which a corner is none."""
    image, labels = scene()
    values = image.astype(np.float32)
    values[:40, 50:] = np.nan
    return values, labels


def run(image, labels, out, model=None, **options):
    options = {"tile": 32, "halo": 4} | options
    report = iseg.propagate(image, labels, out, model or GreyPredictor(), **options)
    return report, np.asarray(LabelStore.open(out).levels[0])


class Looking(GreyPredictor):
    """Keeps the supports that it is given."""

    def predict_unit(self, image, position, supports, labels, previous=None):
        self.seen = list(supports)
        return super().predict_unit(image, position, supports, labels, previous)


@pytest.mark.parametrize("complete", [True, AREA])
@pytest.mark.parametrize("stack", [False, True])
def test_a_correcting_click_adds(tmp_path, stack, complete):
    """Nobody has said that what lies around it is background."""
    image, labels = scene()
    image[60:70, 60:70] = 90  # missed
    plane = (0,) if stack else ()
    if stack:
        image, labels = image[None], labels[None]
    looking = Looking()
    _, before = run(image, labels, tmp_path / "a.zarr", complete=complete)
    clicks = {plane: [(1, Click(65, 65))]}
    _, after = run(image, labels, tmp_path / "b.zarr", looking, complete=complete, clicks=clicks)
    assert not before[*plane, 65, 65]
    assert after[*plane, 65, 65]
    assert not (before & ~after).any(), "nothing is taken away"
    (clicked,) = [support for support in looking.seen if support.clicks]
    assert not clicked.is_painted


def test_a_click_in_the_paint_stays_with_the_paint(tmp_path):
    image, labels = scene()
    looking = Looking()
    run(image, labels, tmp_path / "a.zarr", looking, clicks={(): [(1, Click(12, 12)), (1, Click(40, 12))]})
    assert [len(support.clicks) for support in looking.seen] == [1, 1]
    assert [support.is_painted for support in looking.seen] == [True, False]


def test_paint_of_one_label_without_background_is_refused_before_anything_is_done(tmp_path):
    image, labels = scene()
    model = GreyPredictor()
    for clicks in (None, {(): [(1, Click(65, 65))]}):
        with pytest.raises(InputError, match=r"Nothing is known to be background.*annotate one area"):
            run(image, labels, tmp_path / "a.zarr", model, complete=False, clicks=clicks)
    assert not model.calls
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("known", ["area", "background click", "click in the paint", "label"])
def test_any_background_will_do(tmp_path, known):
    image, labels = scene()
    options = {"complete": False}
    if known == "area":
        options["complete"] = AREA
    elif known == "label":
        labels[30:34, 30:34] = 2
    else:
        click = Click(12, 12) if known == "click in the paint" else Click(40, 40, False)
        options["clicks"] = {(): [(1, click)]}
    _, found = run(image, labels, tmp_path / "a.zarr", **options)
    assert found.any()


def test_slices_of_a_stack_and_copied_masks_go_without_background(tmp_path):
    volume, truth = blobs()
    labels = sparse(truth, 0)
    labels[labels == 2] = 0
    run(volume, labels, tmp_path / "a.zarr", complete=False, tile=512)
    _, found = run(volume, labels, tmp_path / "b.zarr", CopyFirst(), complete=False, tile=512)
    np.testing.assert_array_equal(found[3], labels[0])


def test_a_classifier_of_one_class_is_refused():
    model = object.__new__(TrainingFree)
    painted = object.__new__(FreeEmbedding)
    object.__setattr__(painted, "present", (True,))
    object.__setattr__(painted, "targets", torch.ones(3, dtype=torch.int64))
    with pytest.raises(InputError, match="Nothing is known to be background"):
        model.predict([], [], [painted], [1])


def test_a_click_without_a_value_changes_nothing(tmp_path):
    image, labels = gap()
    run(image, labels, tmp_path / "a.zarr")
    model = GreyPredictor()
    clicks = {(): [(1, Click(10, 80))]}
    report, found = run(image, labels, tmp_path / "a.zarr", model, clicks=clicks, existing="resume")
    assert (report.computed, len(model.calls)) == (0, 0)
    assert not found[10, 80]


def test_one_beside_a_click_with_a_value_is_left_out(tmp_path):
    image, labels = gap()
    looking = Looking()
    run(image, labels, tmp_path / "a.zarr", looking, clicks={(): [(1, Click(42, 80)), (1, Click(38, 80))]})
    assert [len(support.clicks) for support in looking.seen] == [0, 1]


def test_paint_without_a_value_stays_but_is_no_support(tmp_path):
    image, labels = gap()
    labels[4:10, 80:86] = 1
    looking = Looking()
    _, found = run(image, labels, tmp_path / "a.zarr", looking)
    assert len(looking.seen) == 1
    assert found[4:10, 80:86].all()


@pytest.mark.parametrize("kind", ["paint", "clicks", "paint beside values"])
def test_annotation_without_any_value_is_refused_in_its_own_words(tmp_path, kind):
    image, labels = gap()
    labels[:] = 0
    labels[(36 if "beside" in kind else 4) : 39, 80:86] = kind != "clicks"
    clicks = {(): [(1, Click(10, 80))]} if kind == "clicks" else None
    with pytest.raises(InputError, match="All labels and object clicks lie where the image has no values"):
        run(image, labels if kind != "clicks" else None, tmp_path / "a.zarr", clicks=clicks)
    assert not list(tmp_path.iterdir())
