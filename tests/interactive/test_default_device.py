"""A device that a caller has chosen for new tensors changes no answer of a loaded model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from starters import STARTERS

pytestmark = pytest.mark.usefixtures("one_thread", "kept_device")


@pytest.fixture
def kept_device() -> Iterator[None]:
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("name", ["cfr-icl-starter", "adaptiveclick-starter", "sam-starter"])
def test_answers_are_the_same_whatever_the_default_device(name: str) -> None:
    load, ask = STARTERS[name]
    model = load(name)
    expected = ask(model)
    torch.set_default_device("meta")  # whose tensors hold nothing: any that is used fails
    np.testing.assert_array_equal(ask(model), expected)
