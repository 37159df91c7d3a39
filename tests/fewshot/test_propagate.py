"""A run from end to end with a method whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from run_fakes import CopyFirst, GreyPredictor, blobs, files_of, sparse

from napari_iseg.errors import IncompleteError
from napari_iseg.fewshot.control import Control, Progress, Written
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click, Window


def result(path: Path) -> np.ndarray:
    return np.asarray(LabelStore.open(path).levels[0][...])


def test_two_labels_on_one_slice_become_all(tmp_path: Path) -> None:
    volume, truth = blobs()
    report = propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", GreyPredictor())
    assert np.array_equal(result(tmp_path / "rest.zarr"), truth)
    assert report.labels == (1, 2)
    assert (report.units, report.computed, report.kept) == (5, 5, 0)
    assert not report.failed


def test_order_is_nearest_first(tmp_path: Path) -> None:
    volume, truth = blobs()
    fake = GreyPredictor()
    propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", fake)
    assert [p[0] for p in fake.calls] == [1, 3, 0, 4]


def test_tiled_is_untiled(tmp_path: Path) -> None:
    volume, truth = blobs()
    for tile, halo in ((512, 64), (16, 2), (12, 0)):
        out = tmp_path / f"{tile}.zarr"
        propagate(volume, sparse(truth, 2), out, GreyPredictor(), tile=tile, halo=halo)
        assert np.array_equal(result(out), truth)


@pytest.mark.parametrize("axis", [0, 1, 2, "y"])
def test_any_axis_may_be_sliced(tmp_path: Path, axis: int | str) -> None:
    volume, truth = blobs()
    number = 1 if axis == "y" else int(axis)
    planes = (6, 17) if number else (0, 3)
    labels = np.moveaxis(sparse(np.moveaxis(truth, number, 0), *planes), 0, number)
    propagate(volume, labels, tmp_path / "rest.zarr", GreyPredictor(), axis=axis)
    assert np.array_equal(result(tmp_path / "rest.zarr"), truth)


def test_spacing_decides_what_is_near(tmp_path: Path) -> None:
    volume, truth = blobs()
    seen = GreyPredictor()
    propagate(
        volume,
        sparse(truth, 0),
        tmp_path / "rest.zarr",
        seen,
        scale=(5.0, 1.0, 1.0),
        units=("um", "um", "um"),
    )
    assert [p[0] for p in seen.calls] == [5, 10, 15, 20]
    assert LabelStore.open(tmp_path / "rest.zarr").space.scale == (5.0, 1.0, 1.0)


def test_rows_that_run_south_are_as_far_apart_as_others(tmp_path: Path) -> None:
    volume, truth = blobs()
    scale = (2.0, -0.5, 0.5)
    propagate(volume, sparse(truth, 0), tmp_path / "rest.zarr", GreyPredictor(), scale=scale)
    assert LabelStore.open(tmp_path / "rest.zarr").space.scale == scale


def test_time_series_of_volumes(tmp_path: Path) -> None:
    volume, truth = blobs()
    movie, truths = np.stack([volume, volume[::-1]]), np.stack([truth, truth[::-1]])
    labels = np.zeros_like(truths)
    labels[0, 2] = truth[2]
    report = propagate(movie, labels, tmp_path / "rest.zarr", GreyPredictor())
    assert np.array_equal(result(tmp_path / "rest.zarr"), truths)
    assert report.units == 10


def test_rgb_and_channels_first(tmp_path: Path) -> None:
    volume, truth = blobs()
    for name, image in (("rgb", np.stack([volume] * 3, -1)), ("cf", np.stack([volume, volume], 0))):
        propagate(image, sparse(truth, 1), tmp_path / f"{name}.zarr", GreyPredictor())
        assert np.array_equal(result(tmp_path / f"{name}.zarr"), truth)


def test_scene_in_tiles_from_one_corner(tmp_path: Path) -> None:
    volume, truth = blobs(depth=1)
    scene, true = np.tile(volume[0], (3, 4)), np.tile(truth[0], (3, 4))
    labels = np.zeros_like(true)
    labels[:24, :24] = true[:24, :24]
    propagate(scene, labels, tmp_path / "rest.zarr", GreyPredictor(), tile=32, halo=4, complete=False)
    found = result(tmp_path / "rest.zarr")
    assert np.array_equal(found[labels > 0], labels[labels > 0])
    assert (found == true).mean() > 0.99
    levels = LabelStore.open(tmp_path / "rest.zarr").levels
    assert len(levels) == 1


def test_pyramid_of_a_large_scene_is_every_second_pixel(tmp_path: Path) -> None:
    scene = np.zeros((300, 1100), np.uint8)
    scene[100:250, 200:900] = 200
    labels = np.zeros(scene.shape, np.uint32)
    labels[100:200, 200:300] = 3
    labels[:60, :60] = 0
    propagate(scene, labels, tmp_path / "rest.zarr", GreyPredictor(), tile=400, halo=30)
    fine, *coarser = LabelStore.open(tmp_path / "rest.zarr").levels
    assert len(coarser) == 2
    for k, level in enumerate(coarser, start=1):
        assert np.array_equal(level[...], fine[...][:: 2**k, :: 2**k])


def test_blending_leaves_no_seam(tmp_path: Path) -> None:
    scene = np.full((60, 200), 100, np.uint8)
    labels = np.zeros(scene.shape, np.uint32)
    scene[:, :40] = 200
    labels[5:50, 5:38] = 1
    for halo, name in ((0, "hard"), (21, "soft")):
        propagate(
            scene,
            labels,
            tmp_path / f"{name}.zarr",
            GreyPredictor(smear=True),
            tile=64,
            halo=halo,
            probability=True,
        )
    steps = []
    for name in ("hard", "soft"):
        values = zarr.open_array(tmp_path / f"{name}.zarr" / "probability", mode="r")[0].astype(float)
        steps.append(np.abs(np.diff(values[:, 60:], axis=1)).max())
    assert steps[1] < steps[0] / 4


def test_supports_are_never_overwritten(tmp_path: Path) -> None:
    volume, truth = blobs()
    labels = sparse(truth, 2)
    labels[2, :4, :4] = 2  # the user's word, though the grey there is background's
    for tile in (512, 16):
        out = tmp_path / f"{tile}.zarr"
        propagate(volume, labels, out, GreyPredictor(), tile=tile, halo=2)
        assert np.array_equal(result(out)[2], labels[2])


def test_clicks_alone_are_supports(tmp_path: Path) -> None:
    volume, truth = blobs()
    clicks = {2: [(1, Click(8, 6)), (2, Click(17, 15))]}
    propagate(volume, None, tmp_path / "rest.zarr", GreyPredictor(), clicks=clicks)
    assert np.array_equal(result(tmp_path / "rest.zarr"), truth)


def test_chosen_planes_only(tmp_path: Path) -> None:
    volume, truth = blobs()
    report = propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", GreyPredictor(), planes=range(3, 5))
    found = result(tmp_path / "rest.zarr")
    assert report.units == 2
    assert np.array_equal(found[3:5], truth[3:5])
    assert not found[:3].any()


def test_trust_and_probability_are_kept(tmp_path: Path) -> None:
    volume, truth = blobs()
    out = tmp_path / "rest.zarr"
    propagate(volume, sparse(truth, 2), out, GreyPredictor(), probability=True, tile=16, halo=2)
    group = zarr.open_group(out, mode="r")
    trust = np.asarray(group["trust"])
    assert trust.shape == (5, 2, 2)
    assert np.allclose(trust[1], 0.9)
    assert np.allclose(trust[4], 0.8)
    probability = group["probability"]
    assert probability.shape == (2, *volume.shape)
    assert probability.attrs["labels"] == [1, 2]
    assert (np.asarray(probability)[0][truth == 1] > 0.9).all()


def test_a_method_that_copies_masks_gets_them_cut_like_its_units(tmp_path: Path) -> None:
    volume, truth = blobs()
    for tile in (512, 16):
        out = tmp_path / f"{tile}.zarr"
        propagate(volume, sparse(truth, 1, 4), out, CopyFirst(), tile=tile, halo=2)
        found = result(out)
        assert np.array_equal(found[0], truth[1])
        assert np.array_equal(found[3], truth[4])


def test_sequential_mode_hands_on_from_both_sides(tmp_path: Path) -> None:
    volume, truth = blobs()
    volume[3] = 20  # a slice without a trace of the objects: only its neighbours know them
    alone = tmp_path / "alone.zarr"
    chained = tmp_path / "chained.zarr"
    propagate(volume, sparse(truth, 1, 4), alone, GreyPredictor())
    report = propagate(volume, sparse(truth, 1, 4), chained, GreyPredictor(), sequential=True)
    assert np.array_equal(result(chained)[[0, 1, 2, 4]], truth[[0, 1, 2, 4]])
    assert report.units == 5


def test_units_that_fail_are_named_and_the_rest_is_done(tmp_path: Path) -> None:
    volume, truth = blobs()
    fake = GreyPredictor(fail_at=(4.0,))
    with pytest.raises(
        IncompleteError, match=r"1 of 5 units .* plane 4 \(RuntimeError: the network has a bad day\)"
    ):
        propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", fake)
    assert [p[0] for p in fake.calls].count(4) == 3
    found = result(tmp_path / "rest.zarr")
    assert np.array_equal(found[:4], truth[:4])
    report = propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", GreyPredictor(), existing="resume")
    assert (report.computed, report.kept) == (1, 4)
    assert np.array_equal(result(tmp_path / "rest.zarr"), truth)


def test_a_unit_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    volume, truth = blobs()
    propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", GreyPredictor(fail_at=(4.0,), failures=1))
    assert np.array_equal(result(tmp_path / "rest.zarr"), truth)


def test_a_damaged_chunk_costs_its_own_slice_only(tmp_path: Path) -> None:
    volume, truth = blobs()
    array = zarr.create_array(tmp_path / "v.zarr", shape=volume.shape, chunks=(1, 24, 24), dtype="uint8")
    array[...] = volume
    (tmp_path / "v.zarr" / "c" / "3" / "0" / "0").write_bytes(b"broken")
    out, labels = tmp_path / "rest.zarr", sparse(truth, 2)
    with pytest.raises(
        IncompleteError, match=r"1 of 5 units .* plane 3 \(.*v\.zarr could not be read as an image"
    ):
        propagate(array, labels, out, GreyPredictor())
    assert np.array_equal(result(out)[[0, 1, 2, 4]], truth[[0, 1, 2, 4]])
    array[3] = volume[3]
    report = propagate(array, labels, out, GreyPredictor(), existing="resume")
    assert (report.computed, report.kept) == (1, 4)


def test_a_read_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    volume, truth = blobs()

    class Drive:
        shape, dtype, ndim, failures = volume.shape, volume.dtype, 3, 1

        def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
            if index[0] == 3 and self.failures:
                self.failures -= 1
                raise OSError(5, "Input/output error")
            return volume[index]

    propagate(Drive(), sparse(truth, 2), tmp_path / "rest.zarr", GreyPredictor())
    assert np.array_equal(result(tmp_path / "rest.zarr"), truth)


def test_listener_hears_of_every_block_and_the_time_left(tmp_path: Path) -> None:
    volume, truth = blobs()
    heard: list[Progress | Written] = []
    propagate(volume, sparse(truth, 2), tmp_path / "rest.zarr", GreyPredictor(), listener=heard.append)
    blocks = [entry for entry in heard if isinstance(entry, Written)]
    assert [b.plane for b in blocks] == [(2,), (1,), (3,), (0,), (4,)]
    assert [b.annotated for b in blocks] == [True] + [False] * 4
    last = [entry for entry in heard if isinstance(entry, Progress)][-1]
    assert (last.done, last.total, last.failed) == (5, 5, 0)
    assert last.seconds_left == 0


def test_cancelled_and_resumed_is_equal_to_never_cancelled(tmp_path: Path) -> None:
    volume, truth = blobs()
    options = {"tile": 16, "halo": 2, "probability": True}
    (tmp_path / "whole").mkdir()
    propagate(
        volume, sparse(truth, 2), tmp_path / "whole" / "rest.zarr", GreyPredictor(smear=True), **options
    )
    out = tmp_path / "rest.zarr"
    rounds = 0
    while True:
        control = Control()
        count = 0

        def stop_soon(entry: Progress | Written, control: Control = control) -> None:
            nonlocal count
            count += 1
            if count == 12:
                control.cancel()

        report = propagate(
            volume,
            sparse(truth, 2),
            out,
            GreyPredictor(smear=True),
            control=control,
            listener=stop_soon,
            existing="resume",
            **options,
        )
        rounds += 1
        if not report.cancelled:
            break
    assert rounds > 1
    assert files_of(out) == files_of(tmp_path / "whole" / "rest.zarr")


def test_only_what_a_changed_support_touches_is_done_again(tmp_path: Path) -> None:
    depth = 40
    volume, truth = blobs(depth=4)
    volume, truth = np.concatenate([volume] * 10), np.concatenate([truth] * 10)
    labels = sparse(truth, *range(0, depth, 2))
    out = tmp_path / "rest.zarr"
    propagate(volume, labels, out, GreyPredictor())
    labels[0, 0, 0] = 1
    fake = GreyPredictor()
    report = propagate(volume, labels, out, fake, existing="resume")
    assert 0 < len(fake.calls) < 12
    assert max(p[0] for p in fake.calls) < 20
    assert report.kept > 25
    again = propagate(volume, labels, out, fake, existing="resume")
    assert again.computed == 0


def test_focus_comes_first(tmp_path: Path) -> None:
    volume, truth = blobs()
    control = Control()
    control.focus = (4,)
    fake = GreyPredictor()
    propagate(volume, sparse(truth, 0), tmp_path / "rest.zarr", fake, control=control)
    assert fake.calls[0] == (4.0,)


def test_the_least_trusted_slice_is_suggested(tmp_path: Path) -> None:
    volume, truth = blobs()
    volume[4] = (volume[4] + 55) // 2
    report = propagate(volume, sparse(truth, 1), tmp_path / "rest.zarr", GreyPredictor())
    assert report.next is not None
    assert report.next.plane == (4,)


def test_a_region_is_whole_tiles_and_as_in_a_whole_run(tmp_path: Path) -> None:
    volume, truth = blobs(depth=1)
    scene, true = np.tile(volume[0], (4, 4)), np.tile(truth[0], (4, 4))
    labels = np.zeros_like(true)
    labels[:24, :24] = true[:24, :24]
    options = {"tile": 32, "halo": 4, "complete": False}
    whole, part = tmp_path / "whole.zarr", tmp_path / "part.zarr"
    propagate(scene, labels, whole, GreyPredictor(smear=True), **options)
    report = propagate(
        scene, labels, part, GreyPredictor(smear=True), region=Window(50, 50, 60, 60), **options
    )
    found, expected = result(part), result(whole)
    assert report.units == 1
    assert np.array_equal(found[48:72, 48:72], expected[48:72, 48:72])
    assert not found[72:].any()
