"""What a training left out of a set of one image: the part cut off it, or all of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_iseg.backends.cards import ModelCard
from napari_iseg.evaluation.datasets import Dataset, open_dataset
from napari_iseg.evaluation.left_out import ENTRY, left_out, left_out_table


@pytest.fixture
def one(tmp_path) -> Dataset:
    """A set of one image, c00."""
    labels = np.zeros((60, 100), np.uint16)
    for number, col in enumerate(range(5, 95, 15), 1):
        labels[20:32, col : col + 10] = number
    for kind, pixels in (("images", (labels > 0).astype(np.uint8) * 200), ("labels", labels)):
        (tmp_path / "cells" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "cells" / kind / "c00.png")
    return open_dataset(tmp_path / "cells")


def found(one: Dataset, images: list[str]) -> Dataset | None:
    table = {"share": 0.2, "seed": 0, "sets": [{"set": "cells", "axis": 0, "images": images}]}
    entry = left_out(ModelCard("m", "cfr-icl", "starter", training={ENTRY: table}), "cells", lambda axis: one)
    return None if entry is None else entry[0].of(one, "m")


def test_of_an_image_that_was_cut_it_is_the_part_cut_off(one) -> None:
    held_out = one.split(0.2, 0)[1]
    table = left_out_table(0.2, 0, [(0, held_out)])
    part = found(one, table["sets"][0]["images"])
    assert part is not None
    assert [item.name for item in part] == [item.name for item in held_out]


def test_an_image_that_was_left_out_whole_is_played_whole(one) -> None:
    part = found(one, ["c00", "c05"])
    assert part is None  # c05 is not here: another set
    part = found(one, ["c00"])
    assert part is not None
    assert part[0].image().shape[:2] == (60, 100)


@pytest.mark.parametrize("images", [["c05", "c06"], ["other_right"]])
def test_an_image_that_it_does_not_name_is_not_known(one, images) -> None:
    assert found(one, images) is None
