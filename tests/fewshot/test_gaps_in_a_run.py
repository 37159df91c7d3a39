"""Pixels without a value in a run: what is kept, carried on, trusted and suggested."""

from __future__ import annotations

import numpy as np
import pytest
from run_fakes import GreyPredictor

import napari_iseg as iseg
from napari_iseg.fewshot.control import Written
from napari_iseg.fewshot.pixels import key_of

SIDE = 48
OBJECT = np.s_[16:30, 16:30]


def stack(depth: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A dark object in bright slices, and its labels in the first one."""
    volume = np.full((depth, SIDE, SIDE), 200.0, np.float32)
    volume[:, *OBJECT] = 7
    labels = np.zeros(volume.shape, np.uint32)
    labels[0][OBJECT] = 1
    return volume, labels


def run(volume, labels, out, predictor=None, **options):
    options = {"tile": 24, "halo": 4} | options
    report = iseg.propagate(volume, labels, out, predictor or GreyPredictor(), **options)
    return report, np.asarray(iseg.LabelStore.open(out).levels[0])


def test_a_pixel_that_lost_its_value_is_another_one():
    image, valid = np.zeros((4, 5, 3), np.float32), np.ones((4, 5), bool)
    assert key_of(image, None) == key_of(image, valid)
    valid[1, 2] = False
    assert key_of(image, None) != key_of(image, valid)


@pytest.mark.parametrize("gap", ["slice", "object", "half"])
def test_a_chain_goes_on_behind_a_gap(tmp_path, gap):
    volume, labels = stack()
    volume[(2, *{"slice": np.s_[:, :], "object": np.s_[10:34, 12:33], "half": np.s_[:, 20:]}[gap])] = np.nan
    guided = {}

    class Guided(GreyPredictor):
        def predict_unit(self, image, position, supports, labels, previous=None):
            guided[position[0]] = previous is not None and float(previous[1].sum())
            return super().predict_unit(image, position, supports, labels, previous)

    trust: dict[int, float] = {}

    def listen(event) -> None:
        if isinstance(event, Written):
            trust[event.plane[0]] = event.trust

    options = {"sequential": True, "listener": listen}
    report, found = run(volume, labels, tmp_path / "a.zarr", Guided(), tile=SIDE, halo=0, **options)
    np.testing.assert_array_equal(found[3:] > 0, volume[3:] == 7)
    np.testing.assert_array_equal(found[2] > 0, volume[2] == 7)
    assert guided[3] == pytest.approx(14 * 14, abs=1), "the object before the gap is known behind it"
    assert "lost" not in report.next.reason
    assert trust[2] == (1.0 if gap == "slice" else 0.8)
    assert report.trust == pytest.approx(np.mean([trust[z] for z in (1, 2, 3, 4) if trust[z] < 1]))
    np.testing.assert_array_equal(run(volume, labels, tmp_path / "b.zarr", sequential=True)[1], found)


@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_without_values_are_neither_doubted_nor_suggested(tmp_path, batch):
    """Their windows reach over values, so that the model is asked all the same."""
    volume, labels = stack()
    image, labels = volume[0], labels[0]
    image[:, 32:] = np.nan

    class Doubting(GreyPredictor):
        def predict_unit(self, image, *rest):
            answer = super().predict_unit(image, *rest)
            trust = 0.2 if (image == 0).any() else 0.6
            return type(answer)(answer.probability * 0.6 + 0.2, trust, answer.presence)

        def predict_units(self, images, positions, supports, labels):
            pairs = zip(images, positions, strict=True)
            return [self.predict_unit(*each, supports, labels) for each in pairs]

    written: dict[int, list[Written]] = {}

    def listen(event) -> None:
        if isinstance(event, Written):
            written.setdefault(event.window.left, []).append(event)

    part = iseg.Areas.of([[(14, 14), (14, 31), (31, 31), (31, 14)]])
    report, _ = run(
        image, labels, tmp_path / "a.zarr", Doubting(), batch=batch, complete=part, listener=listen
    )
    assert [(event.trust, event.doubt) for event in written[32]] == [(1.0, 0.0)] * 3
    assert report.next.window.left < 32
    assert report.trust == pytest.approx(np.mean([event.trust for event in written[0] + written[16]]))


def test_an_image_without_values_is_answered_without_doubt():
    volume, labels = stack()
    model = iseg.FewShot(GreyPredictor())
    model.add_support(volume[0], labels[0])
    answer = model.segment(np.full_like(volume[0], np.nan))
    assert (answer.trust, answer.presence.tolist(), answer.mask.any()) == (1.0, [0.0], False)
