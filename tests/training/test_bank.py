"""Windows cut for training: what the labels say lies where the picture shows it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_iseg.training.bank import cut, picture
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
