"""The CFR-ICL network against the published code's numbers; ISEG_PARITY may name the full files' folder."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from cfr_icl_golden import DATA, FULL_FILES, read_cases, thinned, whole_stages

FULL = os.environ.get("ISEG_PARITY")


def cases():
    folders = [(DATA, False)] + ([(Path(FULL), True)] if FULL else [])
    for folder, full in folders:
        for name in FULL_FILES:
            for case in read_cases(folder / f"{name}.npz", full=full):
                yield pytest.param(case, id=f"{'full' if full else 'reduced'}-{case.name}")


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", list(cases()))
def test_every_stage_is_the_published_one(case, record_property):
    ours = whole_stages(case)
    packed = np.packbits(ours.pop("disks").astype(bool))
    np.testing.assert_array_equal(packed, case.disks.reshape(-1))
    assert set(case.arrays) == set(ours)
    for name, golden in case.arrays.items():
        got = thinned(name, ours[name], case.steps)
        difference = np.abs(got - golden)
        final = name in ("head", "logits")
        bound = 2e-4 if final else 1e-4 * golden.std() + 1e-4 * np.abs(golden)
        record_property(name, float(difference.max()))
        assert np.all(difference <= bound), f"{name} is off by {difference.max():.2e}"
    for name, whole in ours.items():
        mean, std, low, high = case.stats[name]
        found = whole.astype(np.float64)
        # The least and largest values get the stage's own bound; mean and spread can be tighter.
        bound = 2e-4 if name in ("head", "logits") else 1e-4 * std + 1e-4 * max(abs(low), abs(high))
        np.testing.assert_allclose([found.min(), found.max()], [low, high], rtol=0, atol=bound, err_msg=name)
        np.testing.assert_allclose(
            [found.mean(), found.std()], [mean, std], rtol=0, atol=2e-5 * std, err_msg=name
        )
