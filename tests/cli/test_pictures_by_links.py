"""A picture whose name is a link is replaced where it lies, as the labels beside it are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_iseg.cli.overlay import write_png


def test_a_picture_that_is_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, real = tmp_path / "o.png", tmp_path / "disk" / "o.png"
    link.symlink_to(real)
    for _ in range(2):
        write_png(link, np.zeros((4, 4, 3), np.uint8))
        assert link.is_symlink()
        assert real.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["o.png"]
