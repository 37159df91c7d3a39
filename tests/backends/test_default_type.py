"""Networks of every kind compute in float32, whatever type torch gives to numbers by default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tiny_networks import NETWORKS, inputs, model


@pytest.fixture
def kept_type() -> Iterator[None]:
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("kept_type")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_is_built_in_and_answers_in_float32(kind, dtype):
    with torch.random.fork_rng(devices=[]):
        given, asked, other = inputs(), model(kind), model(kind)
        expected = asked.scored(*given)
        torch.set_default_dtype(dtype)
        found = other.scored(*given)
        built = {value.dtype for value in model(kind).net.state_dict().values()}
    assert built <= {torch.float32, torch.int64}
    assert all(map(torch.equal, found, expected))
