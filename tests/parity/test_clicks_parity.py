"""The click simulators against numbers computed with the published code."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg.evaluation.clicks import ClickSimulator, deepest
from napari_iseg.training.clicks import click_candidates, iterative_clicks

GOLDEN = Path(__file__).parent / "data" / "cfr_icl_clicks.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as data:
        return dict(data)


@pytest.mark.parametrize("pair", range(20))
def test_three_clicks_in_a_row_are_the_published_ones(golden, pair):
    truth = golden["gt"][pair]
    mask = np.unpackbits(golden["pred"][pair], axis=-1)[:, : truth.shape[1]].astype(bool)
    simulator = ClickSimulator(truth)
    clicks = [simulator.next(mask) for _ in range(3)]
    assert [(c.row, c.col, int(c.positive)) for c in clicks] == [tuple(c) for c in golden["clicks"][pair]]


def test_depths_are_the_published_ones(golden):
    for truth, packed, (missed, taken) in zip(golden["gt"], golden["pred"], golden["max_dist"], strict=True):
        mask = np.unpackbits(packed, axis=-1)[:, : truth.shape[1]].astype(bool)
        assert deepest((truth == 1) & ~mask)[0] == np.float32(missed)
        assert deepest((truth == 0) & mask)[0] == np.float32(taken)


@pytest.mark.parametrize("pair", range(6))
def test_training_click_has_the_published_candidates_and_place(golden, pair):
    truth = np.unpackbits(golden["train_gt"][pair], axis=-1).astype(np.float32)
    candidates = np.unpackbits(golden["train_candidates"][pair], axis=-1)
    probability = golden["train_pred"][pair].astype(np.float32) / 255
    found, _ = click_candidates(probability, truth)
    np.testing.assert_array_equal(found, np.flatnonzero(candidates))
    legacy = np.random.RandomState(pair)  # the golden draw comes from numpy's frozen stream
    added = iterative_clicks(
        torch.from_numpy(probability)[None, None],
        torch.from_numpy(truth)[None, None],
        torch.full((1, 8, 3), -1.0),
        lambda n: int(legacy.randint(0, n)),
    )
    np.testing.assert_array_equal(added[0].numpy(), golden["train_points"][pair])
