"""What looks like planes, axes, sizes or labels and is none is refused in the words of its argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_fakes import GreyPredictor, blobs, sparse

from napari_iseg.errors import InputError
from napari_iseg.fewshot.arguments import as_label
from napari_iseg.fewshot.facade import FewShot
from napari_iseg.fewshot.propagate import propagate

VOLUME, TRUTH = blobs()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"planes": [[0]]},
            r"planes are numbers along the slicing axis, .* or tuples of them, got \[\[0\]\]",
        ),
        ({"planes": np.array([[0], [2]])}, "planes are numbers"),
        ({"planes": np.array(3)}, r"planes are numbers .*, got array\(3\)"),
        ({"planes": [True, False]}, r"planes are numbers .*, got \[True, False\]"),
        ({"supports": [[1]]}, "supports are numbers"),
        ({"only": [True]}, r"only is a list of labels, .*, got \[True\]"),
        ({"axes": [["z"], ["y"], ["x"]]}, r"axes are names, as \('z', 'y', 'x'\), got"),
        ({"axes": (0, 1, 2)}, "axes are names"),
        ({"memory": -1}, "The memory budget -1 is not understood"),
        ({"features": -1}, r"^features -1 is not understood; write it like '2 GB'\.$"),
    ],
)
def test_kinds_that_are_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        propagate(VOLUME, sparse(TRUTH, 2), tmp_path / "rest.zarr", GreyPredictor(), **change)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("planes", [[(1,), (3,)], np.array([1, 3]), {1, 3}, slice(1, 4, 2)])
def test_planes_that_are_taken(tmp_path: Path, planes: Any) -> None:
    report = propagate(
        VOLUME, sparse(TRUTH, 2), tmp_path / "rest.zarr", GreyPredictor(), planes=planes, axes="zyx"
    )
    assert report.units == 2


def test_a_cache_is_named_by_its_argument() -> None:
    with pytest.raises(InputError, match=r"^cache_bytes 'much' is not understood"):
        FewShot("copy-nearest", cache_bytes="much")


@pytest.mark.parametrize("label", [True, np.True_, np.array([2]), np.array([1, 2]), [1], "2", 2.5, None])
def test_what_is_no_label(label: Any) -> None:
    with pytest.raises(InputError, match="A label is a whole number"):
        as_label(label)


@pytest.mark.parametrize("label", [2, np.int64(2), np.array(2), 2.0])
def test_what_is_a_label(label: Any) -> None:
    assert as_label(label) == 2
