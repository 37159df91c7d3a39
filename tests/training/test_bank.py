"""Windows cut for training: what the labels say lies where the picture shows it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_iseg.errors import InputError
from napari_iseg.evaluation.methods import as_source
from napari_iseg.prompts import Window
from napari_iseg.training.bank import cut, draw_cut, picture, to_rgb8
from napari_iseg.training.episodes import View


@pytest.mark.parametrize("size", [32, 64, 512])  # shrunk eightfold, fourfold, enlarged
@pytest.mark.parametrize("seed", range(6))  # turned and mirrored in all ways, some by other angles
def test_labels_lie_on_the_picture(size, seed):
    rows, cols = np.mgrid[:256, :256]
    disk = (rows - 120) ** 2 + (cols - 137) ** 2 < 80**2
    source = picture((disk * 255).astype(np.uint8), disk.astype(np.int32))
    made = cut(source, source.objects[0], (128, 128), 256, size, np.random.default_rng(seed))
    shown = ndi.center_of_mass(made.image[..., 0].astype(float))
    labelled = ndi.center_of_mass(made.labels == made.target)
    np.testing.assert_allclose(labelled, shown, atol=0.2)  # of the plain nearest neighbour 0.5


@pytest.mark.parametrize("size", [32, 96, 320])
@pytest.mark.parametrize("turns", range(4))
def test_masks_of_episodes_lie_on_the_picture(size, turns):
    rows, cols = np.mgrid[:256, :256]
    disk = (rows - 120) ** 2 + (cols - 137) ** 2 < 80**2
    source = picture((disk * 255).astype(np.uint8), disk.astype(np.int32))
    view = View(0, 0, 256, 256, size, turns, turns == 3)
    shown = ndi.center_of_mass(view.image(source)[..., 0].astype(float))
    np.testing.assert_allclose(ndi.center_of_mass(view.mask(disk)), shown, atol=0.2)


@pytest.mark.parametrize("close", [True, False])
def test_an_object_of_a_coarser_image_lies_on_its_picture_too(close):
    """Eight pixels across of 160: in the sample it is made of squares, and the picture of nothing finer."""
    rows, cols = np.mgrid[:1200, :1200]
    disk = (rows - 600) ** 2 + (cols - 590) ** 2 < 80**2
    source = picture((disk * 255).astype(np.uint8), disk.astype(np.int32))
    for seed in range(8):
        made = draw_cut(source, 128, np.random.default_rng(seed), close, extent_as=8)
        labelled = made.labels == made.target
        assert 8 / 85 < np.sqrt(labelled.sum() * 4 / np.pi) / 128 < 8 / 18  # windows of 20 to 79 pixels
        shown = made.image[..., 0].astype(float)
        assert np.abs(np.diff(shown, axis=0)).max() < 150  # the fine picture's edge is one step of 255
        assert np.hypot(*np.subtract(ndi.center_of_mass(labelled), ndi.center_of_mass(shown))) < 2
        # The cut's area is that of the whole object, enlarged as the window is.
        if labelled[1:-1, 1:-1].sum() == labelled.sum():
            assert made.full_area == pytest.approx(labelled.sum(), rel=0.35)


def test_labels_below_zero_are_refused():
    labels = np.ones((20, 20), np.int32)
    labels[3, 3] = -2
    with pytest.raises(InputError, match="labels of the training picture wave hold the number -2; save them"):
        picture(np.ones((20, 20), np.uint8), labels, name="wave")


def test_complex_numbers_are_no_picture():
    labels = np.ones((20, 20), np.int32)
    with pytest.raises(InputError, match="training picture wave has complex numbers; save their magnitude"):
        picture(np.ones((20, 20), np.complex64), labels, name="wave")


@pytest.mark.parametrize("keep_ids", [False, True])
@pytest.mark.parametrize(
    ("ids", "dtype"),
    [((3, 7), np.uint16), ((2**24, 2**24 + 1), np.int32), ((2**31 - 2, 2**31 - 1), np.uint32)],
)
def test_objects_stay_apart_whatever_their_numbers(ids, dtype, keep_ids, monkeypatch):
    widest = []
    find = ndi.find_objects
    monkeypatch.setattr(ndi, "find_objects", lambda labels: widest.append(labels.max()) or find(labels))
    labels = np.full((96, 96), ids[1], dtype)  # nothing is background
    labels[20:60, 20:60] = ids[0]
    made = picture(np.zeros((96, 96), np.uint8), labels, keep_ids=keep_ids)
    assert max(widest) <= 7  # find_objects allocates by the largest number
    assert made.objects[:, 1].tolist() == [40 * 40, 96 * 96 - 40 * 40]
    assert made.labels.dtype == np.int32
    for row, label in zip(made.objects, ids, strict=True):
        np.testing.assert_array_equal(made.labels == row[0], labels == label)
        assert row[0] == label or not keep_ids
    if not keep_ids:
        target = made.objects[0]
        seen = cut(made, target, (40, 40), 64, 64, np.random.default_rng(0))
        assert 0 < np.count_nonzero(seen.labels == seen.target) < 0.75 * 64 * 64


def odd_pictures():
    rng = np.random.default_rng(0)
    plain = rng.normal(100, 20, (64, 64)).astype(np.float32)
    holes, peaks = plain - 1000, plain.copy()
    holes[:2], peaks[:2] = np.nan, np.inf
    bands = rng.integers(0, 60000, (64, 64, 13), dtype=np.uint16)
    offset = (2**31 + rng.integers(0, 200, (64, 64))).astype(np.uint32)
    eight = (bands >> 8).astype(np.uint8)
    return [
        plain,
        holes,
        peaks,
        offset,
        eight[..., 0],
        eight[..., :3],
        *(bands[..., :n] for n in (1, 2, 3, 13)),
    ]


@pytest.mark.parametrize("image", odd_pictures(), ids=lambda image: f"{image.dtype}-{image.shape}")
def test_training_sees_a_picture_as_the_network_will_when_it_answers(image):
    seen = to_rgb8(image)
    assert (seen.dtype, seen.shape) == (np.uint8, (64, 64, 3))
    shown = as_source(image).read(Window.of_shape((64, 64)))
    np.testing.assert_allclose(seen / 255, shown, atol=0.5 / 255 + 1e-6)
    if image.dtype == np.uint8:
        np.testing.assert_array_equal(seen, image if image.ndim == 3 else np.repeat(image[..., None], 3, 2))
