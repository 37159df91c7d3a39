"""Windows in the colours that tell the inside of a coarse mask from the outside."""

from __future__ import annotations

import numpy as np
import pytest

from napari_iseg.backends.edge_contrast import contrasted
from napari_iseg.backends.edge_input import contrast_input, data_set_input


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
