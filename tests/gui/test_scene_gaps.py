"""A scene is shown in 8 bits, in which "no data" is black: its sessions know the difference from the file."""

from __future__ import annotations

import numpy as np
import tifffile

from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.scene_file import add_scene
from napari_iseg.widgets.sessions import SessionPlan


def test_a_scene_s_session_knows_where_there_is_no_data(bench, tmp_path):
    pixels = np.random.default_rng(0).integers(1, 4000, (120, 100, 4), np.uint16)
    pixels[:, :40] = 0
    path = tmp_path / "town.tif"
    tifffile.imwrite(
        path, pixels, photometric="minisblack", planarconfig="contig", metadata=None,
        extratags=[(42113, 2, 0, "0", False)],
    )  # fmt: skip
    layer, axes = add_scene(bench.viewer, path, (2, 1, 0)), PlaneAxes(2, 0, 1)
    made = SessionPlan.of(layer, axes, tmp_path).open(None)
    again = SessionPlan.of(layer, axes, None, made.folder).open(None)
    for session in (made, again):
        shown, valid = session.source.look((0, 0, 120, 100))
        np.testing.assert_array_equal(valid, pixels[..., 0] > 0)
        np.testing.assert_array_equal(shown, np.asarray(layer.data) / np.float32(255))
        session.close()
    layer.data = np.asarray(layer.data)  # pixels of somebody else
    session = SessionPlan.of(layer, axes, None).open(None)
    assert session.source.valid((0, 0, 120, 100)) is None
