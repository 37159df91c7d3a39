"""What a caller has set torch and numpy to changes no answer; loading draws none of the caller's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg.fewshot.scratch import Draft, Scratch
from starters import STARTERS

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", STARTERS)
def test_answers_are_the_same_bits_whatever_is_set(name: str) -> None:
    load, ask = STARTERS[name]
    draws = torch.get_rng_state()
    loaded = load(name)
    assert torch.equal(torch.get_rng_state(), draws)  # loading has drawn none of the caller's numbers
    expected = ask(load(name))
    with default_type(torch.float64):
        found = [ask(loaded), ask(load(name))]  # what a network keeps is made under the setting in both
    with torch.autocast("cpu", torch.bfloat16), np.errstate(all="raise"):
        found.append(ask(loaded))
    for answers in found:
        assert {answer.dtype for answer in answers} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(answers, expected)


def test_a_draft_of_a_run_may_round_to_zero(tmp_path: Path) -> None:
    faint = Draft(np.full((2, 4, 4), 1e-12, np.float32), 1.0, np.ones(1, np.float32))
    scratch = Scratch(tmp_path)
    with np.errstate(all="raise"):
        scratch.write("plane", faint)
        found = scratch.read("plane")
    assert found is not None
    assert found.probability is not None
    assert not found.probability.any()
