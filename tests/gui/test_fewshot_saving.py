"""What is said of a few-shot result that is saved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.labels.store import LabelStore

from .conftest import NO_WINDOW

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_saving import save
    from napari_iseg.widgets.scene_file import add_scene


@pytest.mark.parametrize("ending", ["tif", "zarr"])
def test_a_scene_without_a_map_is_saved_without_its_rotation_and_it_is_said(
    make_napari_viewer, tmp_path, ending
):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((120, 100, 3), np.uint8), photometric="rgb")
    layer = add_scene(make_napari_viewer(), tmp_path / "plain.tif")
    layer.rotate = 30
    LabelStore((120, 100), path=tmp_path / "out.zarr").flush()
    said: list[str] = []
    at_once: Any = SimpleNamespace(submit_task=lambda work, done, _failed: done(work(None)))
    view: Any = SimpleNamespace(set_status=said.append)
    frame: Any = SimpleNamespace(shape=(120, 100))
    save(tmp_path / "out.zarr", tmp_path / f"saved.{ending}", layer, frame, at_once, view)
    assert "The image's rotation or affine is not in it" in said[-1]
