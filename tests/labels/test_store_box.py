"""A box that labels do not have is the caller's mistake and no damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_iseg.errors import DamageError, InputError
from napari_iseg.labels.store import LabelStore

ALL = slice(None)


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_box_that_is_not_there_is_refused_in_words(tmp_path: Path, on_disk: bool) -> None:
    store = LabelStore((3, 8, 9), path=tmp_path / "l.zarr" if on_disk else None)
    for box in ((3, ALL, ALL), (0, 0, 0, 0), (0,), ("a", ALL, ALL), (0, slice(None, None, -1), ALL), 5):
        with pytest.raises(InputError, match=r"is not in labels of the shape \(3, 8, 9\); give") as refusal:
            store.block(box)  # type: ignore[arg-type]
        assert not isinstance(refusal.value, DamageError)
    assert store.block((-1, slice(2, 99), slice(0, 9, 2))).shape == (6, 5)
