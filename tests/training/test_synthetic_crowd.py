"""Made crowds: many small bodies, each labelled where it can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from napari_iseg.training.load import load_bank
from napari_iseg.training.recipe import CrowdRecipe, Recipe
from napari_iseg.training.synthetic_crowd import random_crowd


@pytest.mark.parametrize("seed", range(8))
def test_bodies_stand_out_where_their_labels_are(seed):
    image, labels = random_crowd(np.random.default_rng(seed), (200, 240))
    assert image.shape == (200, 240, 3)
    assert image.dtype == np.uint8
    sizes = np.bincount(labels.ravel())
    assert (sizes[1:] >= 40).all()  # numbered without gaps, none too small to be clicked
    assert len(sizes) > 10
    grey = image.mean(axis=2)
    inside, outside = grey[labels > 0].mean(), grey[labels == 0].mean()
    assert abs(inside - outside) > 0.3 * grey[labels == 0].std()


def test_equal_generators_give_equal_crowds():
    one, other = (random_crowd(np.random.default_rng(5), 96) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_crowds_are_a_set_of_their_own_with_their_own_weight():
    told = []
    recipe = Recipe("made", crowds=CrowdRecipe(count=3, size=96, weight=0.4))
    bank = load_bank(recipe, [], lambda name, count: told.append((name, count)))
    assert (bank.names, bank.weights, told) == (["made crowds"], [0.4], [("made crowds", 3)])
    assert [one.labels.shape for one in bank.sets[0]] == [(96, 96)] * 3
