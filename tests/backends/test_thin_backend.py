"""The backend for thin structures: variants, recognition, its role, refusals."""

from __future__ import annotations

import pytest
import torch

from napari_iseg import backends
from napari_iseg.backends.thin import PixelNet, Thin
from napari_iseg.backends.thin_model import ThinModel
from napari_iseg.errors import InputError, ModelNotFoundError
from napari_iseg.weights.store import load_model, load_thin_model


def shapes(net: PixelNet) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def test_a_variant_is_a_name_or_sizes() -> None:
    small = backends.build("thin", {"widths": (8, 8, 8, 8), "dim": 3})
    assert small(torch.rand(2, 3, 32, 48)).shape == (2, 3, 32, 48)
    assert sum(p.numel() for p in backends.build("thin").parameters()) < 300_000
    with pytest.raises(ModelNotFoundError, match="'starter'"):
        backends.build("thin", "startr")
    with pytest.raises(InputError, match="four widths"):
        backends.build("thin", {"widths": (8, 8)})
    with pytest.raises(InputError, match="four widths"):
        backends.build("thin", {"depth": 2})


def test_its_files_are_recognised_and_others_are_not() -> None:
    own = shapes(Thin().build("starter"))
    found = backends.recognise(own)
    assert found is not None
    assert (found.backend, found.label) == ("thin", "Thin structures starter")
    del own["out.weight"]
    assert Thin().recognise(own) is None
    assert Thin().differences(own)[1] == ["missing out.weight"]


def test_own_names_load_strictly() -> None:
    one, other = Thin().build("starter"), Thin().build("starter")
    other.load_published(one.state_dict())
    assert torch.equal(other.out.weight, one.out.weight)
    assert other.published_names()["out.weight"] == "out.weight"


def test_it_answers_no_clicks_by_itself() -> None:
    assert backends.role("thin") == "thin"
    with pytest.raises(InputError, match="takes no clicks by itself"):
        backends.get_click("thin")
    with pytest.raises(InputError, match="'thin-starter'"):
        load_thin_model("cfr-icl-starter")


def test_the_shipped_one_loads_by_name() -> None:
    model = load_model("thin-starter", device="cpu")
    assert isinstance(model, ThinModel)
    assert model.card.size_bytes < 1_000_000
