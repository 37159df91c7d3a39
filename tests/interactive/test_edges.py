"""Refining the edges of masks of any size: what thin structures need, and what is refused."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_iseg.errors import CancelledError, InputError
from napari_iseg.interactive.edges import PlaneView, refine_edges, refined_region
from napari_iseg.prompts import Box, Window

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def thin(monkeypatch):
    """The thin structures that the benchmark measures."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("thin_shapes")
    sys.modules.pop("thin_shapes", None)


class BrightRefiner:
    """Takes what is bright for the object, at the resolution of a network with ``size`` pixels per side."""

    threshold = 0.5

    def __init__(self, size=128):
        self.size = size
        self.windows = []
        self.boxes = []

    def probability(self, image, mask, box=None):
        assert image.shape == (*mask.shape, 3)
        self.windows.append(mask.shape)
        self.boxes.append(box)
        zoom = (self.size / mask.shape[0], self.size / mask.shape[1])
        seen = ndimage.zoom(image[..., 0], zoom, order=1, grid_mode=True, mode="nearest")
        answer = ndimage.zoom(seen, [1 / z for z in zoom], order=1, grid_mode=True, mode="nearest")
        return answer[: mask.shape[0], : mask.shape[1]].astype(np.float32)


def as_image(truth):
    return np.repeat(truth[..., None].astype(np.float32), 3, 2)


@pytest.mark.parametrize("shape", ["comb", "net", "hairs"])
@pytest.mark.parametrize(("side", "size"), [(90, 128), (150, 256), (420, 128)])
def test_thin_structures_survive(thin, shape, side, size, record_property):
    truth = thin.SHAPES[shape](side)
    coarse = thin.blob(truth)
    model = BrightRefiner(size)
    refined = refine_edges(as_image(truth), coarse, model)
    before, after = thin.thin_iou(coarse, truth), thin.thin_iou(refined, truth)
    record_property("thin_iou", (before, after))
    assert before < 0.75
    assert after > 0.9
    assert (len(model.windows) > 4) == (side > size)


@pytest.mark.parametrize("shape", ["comb", "net", "hairs"])
def test_thin_scores_see_what_a_blob_lacks(thin, shape):
    truth = thin.SHAPES[shape](150)
    assert thin.thin_iou(truth, truth) == 1
    assert thin.thin_iou(thin.blob(truth), truth) < 0.75
    assert thin.thin_iou(np.ones((9, 9), bool), np.ones((9, 9), bool)) == 1
    seen = thin.picture(truth)
    assert seen.shape == (150, 150, 3)
    assert seen.dtype == np.float32
    assert 0.05 < seen[truth].mean() - seen[~truth].mean() < 0.5


def test_small_objects_are_enlarged_with_context():
    truth = np.zeros((500, 500), bool)
    truth[200:210, 300:304] = True
    model = BrightRefiner(128)
    np.testing.assert_array_equal(refine_edges(as_image(truth), truth, model), truth)
    assert model.windows == [(96, 96)]
    assert model.boxes == [None]  # the network draws the published box from the mask


def test_long_objects_are_not_squeezed_by_more_than_two():
    truth = np.zeros((500, 500), bool)
    truth[200:203, 10:300] = True
    model = BrightRefiner(512)
    refine_edges(as_image(truth), truth, model)
    height, width = model.windows[0]
    assert width >= 290
    assert height * 2 >= width - 2


def test_only_tiles_along_the_outline_are_visited():
    truth = np.zeros((1200, 1200), bool)
    truth[50:1150, 50:1150] = True
    model = BrightRefiner(128)
    refined = refine_edges(as_image(truth), truth, model)
    np.testing.assert_array_equal(refined, truth)
    everywhere = ((1200 - 128) // 96 + 2) ** 2
    assert 30 < len(model.windows) < 0.55 * everywhere


def test_what_lies_inside_a_large_coarse_mask_is_found_too():
    truth = np.zeros((600, 600), bool)
    truth[20:580, 20:580] = True
    truth[280:320, 280:320] = False  # a hole in the middle of a mask that has none
    coarse = ndimage.binary_fill_holes(truth)
    np.testing.assert_array_equal(refine_edges(as_image(truth), coarse, BrightRefiner(128)), truth)


def test_tiles_leave_no_seams():
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.random((500, 640)), 12) > 0.5
    truth = ndimage.binary_opening(truth, iterations=6)
    refined = refine_edges(as_image(truth), ndimage.binary_dilation(truth, iterations=2), BrightRefiner(128))
    assert np.mean(refined != truth) < 1e-4


def test_a_drawn_box_reaches_the_network_in_its_window():
    truth = np.zeros((300, 300), bool)
    truth[100:150, 100:160] = True
    model = BrightRefiner(256)
    refine_edges(as_image(truth), truth, model, Box(90, 95, 170, 180))
    (box,), (shape,) = model.boxes, model.windows
    assert (box.row1 - box.row0, box.col1 - box.col0) == (80, 85)
    assert box.row1 <= shape[0]
    assert box.col1 <= shape[1]


@pytest.mark.parametrize("scale", [1, 255])
def test_masks_may_be_bool_or_numbers(thin, scale):
    truth = thin.SHAPES["hairs"](100)
    blob = thin.blob(truth)
    numbers = (blob * scale).astype(np.uint8)
    from_bool, from_numbers = (
        refine_edges(as_image(truth), mask, BrightRefiner()) for mask in (blob, numbers)
    )
    np.testing.assert_array_equal(from_bool, from_numbers)


def test_the_window_grows_after_a_hair_that_leaves_it():
    truth = np.zeros((300, 300), bool)
    truth[140:160, 20:40] = True
    truth[150, 40:280] = True
    coarse = np.zeros_like(truth)
    coarse[140:160, 20:40] = True
    refined = refine_edges(as_image(truth), coarse, BrightRefiner(512))
    np.testing.assert_array_equal(refined, truth)


def test_refusals():
    image, mask = np.zeros((60, 60, 3), np.float32), np.zeros((60, 60), bool)
    with pytest.raises(InputError, match="empty"):
        refine_edges(image, mask, BrightRefiner())
    with pytest.raises(InputError, match=r"\(H, W, 3\)"):
        refine_edges(image[:50], mask, BrightRefiner())
    mask[20:40, 20:40] = True
    with pytest.raises(InputError, match="lost the object"):
        refine_edges(image, mask, BrightRefiner())


def test_it_can_be_stopped():
    truth = np.zeros((600, 600), bool)
    truth[20:580, 20:580] = True
    asked = []
    view = PlaneView(
        Window(0, 0, 600, 600),
        Window(20, 20, 580, 580),
        lambda window, scale: as_image(truth)[window.slices][::scale, ::scale],
        lambda window: truth[window.slices],
    )
    with pytest.raises(CancelledError):
        refined_region(view, BrightRefiner(128), cancelled=lambda: asked.append(0) or len(asked) > 3)
    assert len(asked) == 4


@pytest.mark.parametrize("side", [60, 200])
def test_a_real_network_of_random_weights_runs_in_windows_and_tiles(side):
    import torch

    from napari_iseg import backends
    from napari_iseg.backends.cards import ModelCard
    from napari_iseg.backends.edge_model import EdgeModel

    torch.manual_seed(0)
    torch.set_num_threads(1)
    variant = {"in_channels": 5, "width": 0.0625}
    card = ModelCard("tiny", "is5net", variant, inference={"size": 128, "threshold": 1e-6})
    model = EdgeModel(card, backends.build("is5net", variant), device="cpu")
    mask = np.zeros((side, side), bool)
    mask[side // 8 : -side // 8, side // 8 : -side // 8] = True
    image = np.random.default_rng(0).random((side, side, 3), np.float32)
    refined = refine_edges(image, mask, model)
    assert refined[mask].mean() > 0.9  # such a threshold takes all that is looked at, and keeps what is not
    assert refined.sum() > mask.sum()
