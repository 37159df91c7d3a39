"""Copying and interpolating masks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.fewshot.base import UNKNOWN, Support
from napari_iseg.fewshot.baselines import CopyNearest, Interpolation
from napari_iseg.fewshot.interpolation import along_axis, interpolated, neighbours, signed_distance
from napari_iseg.fewshot.two_stage import TwoStage
from napari_iseg.prompts import Click


def disk_support(z: float, radius: float, label: int = 1, size: int = 64) -> Support:
    rows, cols = np.mgrid[:size, :size]
    mask = np.where((rows - 32) ** 2 + (cols - 32) ** 2 <= radius**2, label, 0).astype(np.int32)
    return Support(f"{z}", np.zeros((size, size, 3), np.float32), mask, (), (z,), True, 0, True)


def test_signed_distance_is_symmetric_about_the_outline() -> None:
    mask = np.zeros((20, 30), bool)
    mask[:, :15] = True
    distance = signed_distance(mask)
    assert np.allclose(distance[10, 12:18], [2.5, 1.5, 0.5, -0.5, -1.5, -2.5])
    assert np.isneginf(signed_distance(np.zeros((4, 4), bool))).all()


def test_a_cone_is_interpolated_exactly() -> None:
    supports = [disk_support(0, 10), disk_support(10, 20)]
    answer = Interpolation().predict_unit(None, (5.0,), supports, [1])
    area = np.count_nonzero(answer.mask([1]))
    assert np.sqrt(area / np.pi) == pytest.approx(15, abs=0.6)


def test_copying_takes_the_nearest_by_physical_distance() -> None:
    supports = [disk_support(0, 5), disk_support(30, 15)]
    assert np.array_equal(
        CopyNearest().predict_unit(None, (14.0,), supports, [1]).mask([1]), supports[0].mask
    )
    assert np.array_equal(
        CopyNearest().predict_unit(None, (16.0,), supports, [1]).mask([1]), supports[1].mask
    )


def test_an_object_that_one_slice_lacks_ends_half_way() -> None:
    supports = [disk_support(0, 12), disk_support(10, 0, label=1)]
    supports[1] = supports[1].with_mask(np.zeros((64, 64), np.int32))
    areas = [
        np.count_nonzero(Interpolation().predict_unit(None, (z,), supports, [1]).mask([1]))
        for z in (1.0, 3.0, 4.5, 6.0)
    ]
    assert areas[0] > areas[1] > areas[2] > 0
    assert areas[3] == 0


def test_beyond_the_ends_and_on_a_slice_nothing_is_mixed() -> None:
    assert neighbours([2.0, 8.0], 9.0) == (1, 1, 0.0)
    assert neighbours([2.0, 8.0], 2.0) == (0, 0, 0.0)
    low, high, share = neighbours([8.0, 2.0], 3.5)
    assert (low, high) == (1, 0)
    assert share == pytest.approx(0.25)


def test_time_and_depth_use_the_axis_along_which_supports_lie() -> None:
    places, place = along_axis([(3.0, 0.0), (3.0, 10.0)], (3.0, 4.0))
    assert (places, place) == ([0.0, 10.0], 4.0)
    assert along_axis([(), ()], ()) == ([0.0, 0.0], 0.0)


def test_labels_share_a_pixel_at_most_once() -> None:
    first, second = disk_support(0, 14, label=1), disk_support(10, 14, label=2)
    answer = Interpolation().predict_unit(None, (4.0,), [first, second], [1, 2])
    assert np.allclose(answer.probability.sum(0), 1, atol=1e-6)
    assert (answer.probability >= 0).all()


def test_the_empty_interpolation_stays_empty() -> None:
    nothing = np.zeros((8, 8), bool)
    assert not (interpolated([nothing, nothing], [0.0, 4.0], 2.0) > 0).any()


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match="one size"):
        CopyNearest().predict_unit(None, (1.0,), [disk_support(0, 5), disk_support(2, 5, size=70)], [1])


@pytest.mark.parametrize("labels", [[], [4]])
def test_labels_that_are_not_there_are_refused(labels: list[int]) -> None:
    with pytest.raises(InputError, match="label"):
        CopyNearest().predict_unit(None, (1.0,), [disk_support(0, 5)], labels)


def test_two_stage_goes_on_from_the_clicks_before(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, Click]] = []

    class Clicked:
        """Its mask is a square around each positive click so far."""

        def __init__(self, *_: object, **__: object) -> None: ...

        def step(self, state: SimpleNamespace | None, click: Click) -> SimpleNamespace:
            before = state.probability if state is not None else np.zeros((20, 20), np.float32)
            steps.append((int((before > 0).sum()), click))
            after = before.copy()
            after[int(click.row) - 1 : int(click.row) + 2, int(click.col) - 1 : int(click.col) + 2] = 1
            return SimpleNamespace(probability=after)

    monkeypatch.setattr("napari_iseg.fewshot.clicked.Predictor", Clicked)
    card = SimpleNamespace(name="fake", sha256="0" * 64)
    click_model = SimpleNamespace(card=card, inference=SimpleNamespace(threshold=0.5))
    two = TwoStage(click_model, SimpleNamespace(divisor=1, identity="none"))  # type: ignore[arg-type]
    image, nothing = np.zeros((20, 20, 3), np.float32), np.full((20, 20), UNKNOWN, np.int32)
    first, second = (1, Click(5, 5)), (1, Click(12, 12))
    one = two.masked(Support("a", image, nothing, (first,)), [1])
    both = two.masked(Support("a", image, nothing, (first, second)), [1])
    again = two.masked(Support("a", image, nothing, (second,)), [1])
    assert steps == [(0, Click(5, 5)), (9, Click(12, 12)), (0, Click(12, 12))]
    assert [int((s.mask == 1).sum()) for s in (one, both, again)] == [9, 18, 9]
    assert both.clicks == ()
