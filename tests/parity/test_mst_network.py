"""The MST networks against the published code's numbers; ISEG_PARITY may name the full files' folder."""

import os
from pathlib import Path

import numpy as np
import pytest
from mst_golden import DATA, FULL_FILES, SMALL_FILES, read_cases, thinned, whole_stages

FULL = os.environ.get("ISEG_PARITY")


def cases():
    sources = [(DATA, SMALL_FILES, False)] + ([(Path(FULL), FULL_FILES, True)] if FULL else [])
    for folder, names, full in sources:
        for name in names:
            for case in read_cases(folder / f"{name}.npz", full=full):
                yield pytest.param(case, id=f"{'full' if full else 'reduced'}-{name}-{case.name}")


@pytest.mark.parametrize("case", list(cases()))
def test_every_stage_is_the_published_one(case, record_property):
    ours = whole_stages(case)
    for name, golden in case.arrays.items():
        if name.endswith("_count"):
            check_choice(case, name.removesuffix("_count"), ours)
            continue
        if "idx" in name or "sel_tokens" in name:
            continue  # compared with the count
        if "kernel" in name and golden.size != ours[name].size:
            assert not golden.any()  # without clicks the published kernel has a hard-wired width
            assert not ours[name].any()
            continue
        got = thinned(name, ours[name], case)
        difference = np.abs(got - golden.reshape(got.shape))
        final = name in ("head", "logits")
        bound = 2e-4 if final else 1e-4 * golden.std() + 1e-4 * np.abs(golden.reshape(got.shape))
        record_property(name, float(difference.max()))
        assert np.all(difference <= bound), f"{name} is off by {difference.max():.2e}"
    for name in case.stats:
        mean, std, low, high = case.stats[name]
        found = ours[name].astype(np.float64)
        bound = 2e-4 if name in ("head", "logits") else 1e-4 * std + 1e-4 * max(abs(low), abs(high))
        np.testing.assert_allclose([found.min(), found.max()], [low, high], rtol=0, atol=bound, err_msg=name)
        np.testing.assert_allclose(
            [found.mean(), found.std()], [mean, std], rtol=0, atol=2e-5 * std, err_msg=name
        )


def check_choice(case, name, ours):
    """The same tokens are kept, whatever their order, and they hold the same numbers."""
    kept = int(case.arrays[f"{name}_count"])
    index = case.arrays[name.replace("sel", "idx")]
    found = ours[name.replace("sel", "idx")]
    if "score0_" in name and case.branch in ("main", "mst-448"):
        assert np.count_nonzero(ours[name].any(1)) == kept
    if not kept:
        assert not ours[name].any() or case.branch not in ("main", "mst-448")
        return
    assert set(found[:kept].tolist()) == set(index[:kept].tolist())
    if name not in case.arrays:
        return  # a light case
    # Stored is every 8th slot (of the full files), in their order; look up the same token among ours.
    golden, step = case.arrays[name], 64 if case.cut else 8
    slots = np.arange(0, kept, step)
    places = [int(np.flatnonzero(found == index[slot])[0]) for slot in slots]
    got = ours[name][places][:, :: 4 if case.cut else 1]
    np.testing.assert_allclose(got, golden[: len(slots)], rtol=1e-4, atol=1e-4 * golden.std() + 1e-6)
