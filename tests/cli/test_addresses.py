"""Addresses in place of paths: those of files are taken, of others it is said what reads them."""

from __future__ import annotations

import numpy as np
import tifffile


def test_a_files_address_is_its_path_and_another_is_refused(run, tmp_path):
    image = tmp_path / "a picture.tif"
    tifffile.imwrite(image, np.zeros((40, 40), np.uint8))
    out = tmp_path / "o.zarr"
    ended = run("propagate", image.as_uri(), image.as_uri(), out.as_uri(), "--bands", "2")
    assert "one channel only" in ended.err, "it was found and opened"
    ended = run("propagate", "http://127.0.0.1:1/town.zarr", image, out)
    assert ended.code == 2
    assert "http://127.0.0.1:1/town.zarr is an address and no file" in ended.err
