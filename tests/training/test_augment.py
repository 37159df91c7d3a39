import numpy as np
import pytest
import torch

from napari_iseg.errors import InputError
from napari_iseg.training import photometric
from napari_iseg.training.augment import published_augmentation


def sample(height, width):
    """Every pixel tells its label: bright red on the object, dark beside it."""
    labels = np.zeros((height, width), np.int32)
    labels[height // 4 : height // 2, width // 4 : width // 2] = 1
    image = np.full((height, width, 3), 60, np.uint8)
    image[labels > 0] = (200, 70, 70)
    return image, labels


@pytest.mark.parametrize("recipe", ["cocolvis", "sbd", "mst"])
@pytest.mark.parametrize("shape", [(40, 70), (120, 90)])
def test_image_and_labels_move_together(recipe, shape):
    augment = published_augmentation(recipe, 64)
    seen = 0
    for seed in range(15):
        image, labels = augment(*sample(*shape), np.random.default_rng(seed))
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
        assert labels.dtype == np.int32
        assert set(np.unique(labels)) <= {0, 1}
        red = image[..., 0].astype(int) - image[..., 1]
        if 40 < labels.sum() < 64 * 64 - 40:
            seen += 1
            # bilinear against nearest leaves the rim of about a pixel open
            assert np.mean((red > 70) == (labels > 0)) > 0.9
    assert seen > 5


@pytest.mark.parametrize("recipe", ["cocolvis", "sbd"])
def test_seed_decides_alone(recipe):
    augment = published_augmentation(recipe, 64)
    before = torch.random.get_rng_state()
    first = augment(*sample(80, 80), np.random.default_rng(5))
    torch.testing.assert_close(torch.random.get_rng_state(), before)
    torch.rand(3)
    again, other = (augment(*sample(80, 80), np.random.default_rng(seed)) for seed in (5, 6))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert not (first[0] == other[0]).all()


def test_small_images_are_padded_with_zeros():
    augment = published_augmentation("cocolvis", 96)
    rng = np.random.default_rng(11)
    image, _ = augment(np.full((10, 10, 3), 100, np.uint8), np.zeros((10, 10), np.int32), rng)
    dark = image[0, 0].astype(int)
    assert np.abs(dark - image[-1, -1]).max() == 0
    assert (image != image[0, 0]).any(-1).sum() <= 14 * 14


def test_msts_bounds_are_wider():
    """Scale 0.5 to 1.5, brightness of 0.3, contrast of -0.2 to 0.5, 20 grey levels a channel."""
    pale = np.full((40, 40, 3), 100, np.uint8)
    spans = {}
    for recipe in ("cocolvis", "mst"):
        augment = published_augmentation(recipe, 80)
        made = [augment(pale, np.ones((40, 40), np.int32), np.random.default_rng(s)) for s in range(200)]
        sides = [np.sqrt(labels.sum()) for _, labels in made]
        inside = [image[labels > 0][0].astype(int) for image, labels in made]
        spread = max(np.ptp(colour) for colour in inside)
        spans[recipe] = min(sides), max(sides), min(map(np.mean, inside)), max(map(np.mean, inside)), spread
    least, most, dark, bright, spread = spans["mst"]
    assert 20 <= least < 22
    assert 58 < most <= 60
    assert spans["cocolvis"][0] >= 30
    assert dark < spans["cocolvis"][2] < spans["cocolvis"][3] < bright
    assert 20 < spread <= 40
    assert spans["cocolvis"][4] <= 20


def test_unknown_recipe_is_refused():
    with pytest.raises(InputError, match="'cocolvis' or 'sbd' or 'mst'"):
        published_augmentation("coco")


def test_a_grey_that_rounding_lifted_above_one_stays_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in fifty thousand samples: shares of the channels that sum to 1.0000001, inverted, to a power."""
    lifted = np.nextafter(np.float32(1), np.float32(2))
    monkeypatch.setattr(photometric, "_grey", lambda x, rng: np.full_like(x, lifted))
    white = np.full((16, 16, 3), 255, np.uint8)
    for seed in range(200):
        assert np.isfinite(photometric.vary(white, np.random.default_rng(seed))).all(), seed
