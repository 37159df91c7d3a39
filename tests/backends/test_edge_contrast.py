"""Windows in the colours that tell the inside of a coarse mask from the outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.edge_contrast import believed, contrasted
from napari_iseg.backends.edge_input import contrast_input, data_set_input
from napari_iseg.backends.edge_model import EdgeModel, EdgeOptions
from napari_iseg.errors import InputError
from napari_iseg.prompts import Box


def scene(bright: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, true mask and a coarse mask that is moved and bitten."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((96, 96))
    truth = np.hypot(rows - 46, cols - 50) < 24
    inner, outer = ([0.7, 0.5, 0.6], [0.4, 0.4, 0.5]) if bright else ([0.3, 0.35, 0.4], [0.6, 0.5, 0.5])
    image = np.where(truth[..., None], inner, outer) + rng.normal(0, 0.04, (96, 96, 3))
    coarse = np.roll(truth, (4, -3), (0, 1))
    coarse[40:60, 20:40] = False
    return np.clip(image, 0, 1).astype(np.float32), truth, coarse.astype(np.float32)


@pytest.mark.parametrize("bright", [True, False])
def test_the_object_is_bright_whatever_its_own_colours(bright: bool) -> None:
    image, truth, coarse = scene(bright)
    shown = contrasted(image, coarse)
    assert shown.dtype == np.float32
    assert shown.shape == image.shape
    assert 0 <= shown.min() <= shown.max() <= 1
    for rule in (shown[..., 0], shown[..., 1]):
        assert np.median(rule[truth]) > 0.65
        assert np.median(rule[~truth]) < 0.35
    # the picture, not the coarse mask, decides: what was bitten off is still object
    assert np.median(shown[45:55, 30:38, 1]) > 0.6


def test_without_a_mask_it_is_the_brightness() -> None:
    image, _, coarse = scene(True)
    for mask in (np.zeros_like(coarse), np.ones_like(coarse)):
        shown = contrasted(image, mask)
        assert np.array_equal(shown[..., 0], shown[..., 2])
        assert np.array_equal(shown[..., 1], shown[..., 2])


def test_constant_windows_are_answered() -> None:
    _, _, coarse = scene(True)
    shown = contrasted(np.full((96, 96, 3), 0.5, np.float32), coarse)
    assert np.isfinite(shown).all()
    assert np.ptp(shown[..., 0]) < 1e-3


def test_only_the_image_of_the_prepared_input_differs() -> None:
    image, _, coarse = scene(False)
    plain, ours = (prepare(image, coarse, None, 64) for prepare in (data_set_input, contrast_input))
    assert np.array_equal(plain.mask, ours.mask)
    assert np.array_equal(plain.box, ours.box)
    assert ours.image.shape == (1, 3, 64, 64)
    assert np.allclose(
        ours.image[0, 0],
        contrasted(plain.image[0].permute(1, 2, 0).numpy(), plain.mask[0, 0].numpy())[..., 0],
    )


def test_what_lies_apart_from_the_mask_is_not_believed() -> None:
    _, truth, _ = scene(True)
    inside = truth.copy()
    inside[:, 60:] = False
    answer = np.where(truth, 0.9, 0.1).astype(np.float32)
    answer[2:10, 2:10] = 0.8  # elsewhere
    kept = believed(answer, inside, 0.5)
    assert np.array_equal(kept > 0.5, truth)  # the part that the mask lacks touches it
    assert not kept[2:10, 2:10].any()


def test_a_stroke_grows_by_some_widths_at_most() -> None:
    inside = np.zeros((96, 96), np.bool_)
    inside[:, 46:50] = True
    answer = np.full((96, 96), 0.9, np.float32)
    columns = np.flatnonzero((believed(answer, inside, 0.5) > 0.5)[40])
    assert 30 < columns.min() < 40
    assert 55 < columns.max() < 65


def test_where_the_mask_has_nothing_there_is_nothing() -> None:
    answer = np.full((20, 20), 0.9, np.float32)
    assert not believed(answer, np.zeros((20, 20), np.bool_), 0.5).any()
    assert (believed(answer, np.ones((20, 20), np.bool_), 0.5) == answer).all()


def test_only_contrast_leaves_out_what_lies_apart() -> None:
    torch.manual_seed(0)
    net = backends.get("is5net").build({"in_channels": 5, "width": 0.0625})
    image, _, coarse = scene(True)
    coarse[:, 40:] = 0
    model = EdgeModel(ModelCard("tiny", "is5net", {}), net, device="cpu", options=EdgeOptions(size=64))
    ours = model.with_options(preparation="contrast").probability(image, coarse)
    assert not ours[:, 75:].any()
    assert model.probability(image, coarse)[:, 75:].any()
    empty = model.with_options(preparation="contrast").probability(image, 0 * coarse, Box(5, 5, 90, 90))
    assert not empty.any()


def test_the_answer_is_smoothed_where_asked() -> None:
    torch.manual_seed(0)
    net = backends.get("is5net").build({"in_channels": 5, "width": 0.0625})
    image, _, coarse = scene(True)
    model = EdgeModel(ModelCard("tiny", "is5net", {}), net, device="cpu", options=EdgeOptions(size=96))
    plain, smooth = (model.with_options(smooth=s).probability(image, coarse) for s in (0.0, 3.0))
    wanted = ndi.gaussian_filter(plain, 3.0)
    assert np.allclose(smooth[20:-20, 20:-20], wanted[20:-20, 20:-20], atol=0.01)
    assert np.abs(np.diff(smooth, axis=0)).max() < np.abs(np.diff(plain, axis=0)).max()
    thin = np.zeros_like(coarse)
    thin[40:43, 10:90] = 1
    assert np.ptp(model.with_options(smooth=3.0).probability(image, thin)[30:60]) > 0.8 * np.ptp(
        model.probability(image, thin)[30:60]
    )
    with pytest.raises(InputError, match="smooth is a number of pixels"):
        model.with_options(smooth=-1.0)
