"""Where an image has no value no label is written, and windows without any do not cost a model's time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from run_fakes import CopyFirst, GreyPredictor

import napari_iseg as iseg
from napari_iseg.images.nodata import Masked

SIDE = 64
GAP = np.s_[:, :24]


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A dark object in a bright scene, whose left part and a hole have no value; labels of one corner."""
    image = np.full((SIDE, SIDE), 200, np.uint16)
    image[8:24, 30:50] = image[40:60, 28:44] = 7
    image[GAP] = image[45:50, 30:34] = 0
    labels = np.zeros((SIDE, SIDE), np.uint32)
    labels[8:24, 30:50] = 1
    return image, labels


class Batched(GreyPredictor):
    """Several windows at once."""

    def predict_units(self, images, positions, supports, labels):
        return [self.predict_unit(*each, supports, labels) for each in zip(images, positions, strict=True)]


def run(image, labels, out, predictor=None, **options):
    options = {
        "tile": 16,
        "halo": 4,
        "complete": iseg.Areas.of([[(0, 26), (0, 64), (30, 64), (30, 26)]]),
    } | options
    report = iseg.propagate(image, labels, model=predictor or GreyPredictor(), out=out, **options)
    return report, np.asarray(iseg.LabelStore.open(out).levels[0])


@pytest.mark.parametrize("method", [GreyPredictor, Batched])
@pytest.mark.parametrize("kind", ["NaN", "nodata"])
def test_no_label_lies_where_there_is_no_value(tmp_path, kind, method):
    image, labels = scene()
    valid = image > 0
    given = np.where(valid, image, np.nan).astype(np.float32)
    if kind == "nodata":
        given = Masked(image, np.uint16(0))
    predictor = method()
    report, found = run(given, labels, tmp_path / "a.zarr", predictor, batch=3)
    assert found[52:58, 30:42].all(), "the other object is found"
    assert not found[~valid].any()
    assert len(predictor.calls) < report.units - 3, "the model is not asked where nothing is"
    _, whole = run(given, labels, tmp_path / "b.zarr", tile=64, halo=0)
    np.testing.assert_array_equal(found, whole)


def test_pixels_without_a_value_are_not_learnt_from(tmp_path):
    """The label reaches over the gap, which would make it half as bright."""
    image, labels = scene()
    labels[30:64, :10] = 1  # painted, but there is nothing to see
    seen = []

    class Looking(GreyPredictor):
        def predict_unit(self, image, position, supports, labels, previous=None):
            seen.extend(supports)
            return super().predict_unit(image, position, supports, labels, previous)

    given = np.where(image > 0, image, np.nan).astype(np.float32)
    _, found = run(given, labels, tmp_path / "a.zarr", Looking(), tile=64, halo=0)
    assert all((support.mask[GAP] == -1).all() for support in seen)
    assert found[30:64, :10].all(), "what was painted stays as it was"


def test_nor_does_a_method_write_there_that_looks_at_masks_only(tmp_path):
    volume = np.full((3, SIDE, SIDE), 5.0, np.float32)
    volume[1:, :, :24] = np.nan
    labels = np.zeros(volume.shape, np.uint32)
    labels[0, 8:24, 10:50] = 1
    _, found = run(volume, labels, tmp_path / "a.zarr", CopyFirst(), tile=64, halo=0, complete=True)
    assert found[0, 8:24, 10:50].all()
    np.testing.assert_array_equal(found[2] > 0, (labels[0] > 0) & np.isfinite(volume[2]))


def test_an_image_by_itself(tmp_path):
    image, labels = scene()
    given = np.where(image > 0, image, np.nan).astype(np.float32)
    model = iseg.FewShot(GreyPredictor())
    model.add_support(given, labels)
    answer = model.segment(given)
    assert answer.mask[52:58, 36:42].all()
    assert not answer.mask[image == 0].any()
    np.testing.assert_allclose(answer.probability.sum(0), 1, atol=1e-5)


def test_the_threads_of_a_run_are_its_own(tmp_path):
    image, labels = scene()
    before, during = torch.get_num_threads(), []

    class Counting(GreyPredictor):
        def predict_unit(self, *args):
            during.append(torch.get_num_threads())
            return super().predict_unit(*args)

    run(image, labels, tmp_path / "a.zarr", Counting(), threads=before + 1)
    assert set(during) == {before + 1}
    assert torch.get_num_threads() == before
