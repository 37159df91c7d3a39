"""What a checkpoint states about its network, also where it is made to trouble its reader."""

from __future__ import annotations

import pytest
import torch
from published_form import published_state

from napari_iseg.weights.hints import hints_of
from napari_iseg.weights.importer import ImportOptions, import_file


def test_what_lies_inside_is_found_and_what_lies_outside_goes_first():
    config = {
        "model": {"num_heads": {"type": int, "value": [4, 4], "specified": True}},
        "img_size": 64,
        "deep": {"img_size": 32, "depth": 8.0},
    }
    assert hints_of({"config": config}) == {"num_heads": 4, "img_size": 64, "depth": 8}


def test_a_configuration_that_holds_the_same_again_and_again_is_read_once():
    inner: dict[str, object] = {}
    for _ in range(7):
        inner = {f"k{number}": inner for number in range(1000)}
    assert hints_of({"config": inner}) == {}
    circle: dict[str, object] = {"num_heads": 2}
    circle["again"] = circle
    assert hints_of({"config": circle}) == {"num_heads": 2}


def test_of_a_very_long_configuration_the_start_is_read():
    found = hints_of({"config": {f"k{number}": number for number in range(100_000)}})
    assert 0 < len(found) < 10_000


@pytest.mark.parametrize(
    "number", [10**6000, -(10**6000), 2**63, 1e300], ids=["long", "low", "2**63", "1e300"]
)
def test_a_number_that_is_no_size_is_none(number):
    assert hints_of({"config": {"num_heads": number, "depth": [4, number], "img_size": 64}}) == {
        "img_size": 64
    }


def test_a_file_that_states_a_number_too_long_to_print_is_imported(store, tmp_path):
    torch.save({"state_dict": published_state(), "config": {"num_heads": 10**6000}}, tmp_path / "net.pth")
    told: list[str] = []
    card = import_file(tmp_path / "net.pth", store, ImportOptions(tell=told.append))
    assert card.backend == "cfr-icl"
    assert "does not say how many attention heads" in told[0]
