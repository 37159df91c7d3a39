"""Pixels without data, as GDAL states them, neither count for the stretch nor are seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_iseg.images import tiff
from napari_iseg.images.files import open_image
from napari_iseg.images.nodata import Masked, stated_nodata
from napari_iseg.images.scene import open_scene
from napari_iseg.images.source import PlaneSource
from napari_iseg.prompts import Window

SIZE, RIM = 120, 30
INSIDE = Window(RIM, RIM, SIZE - RIM, SIZE - RIM)


def written(folder: Path, dtype: str, value: float, text: str, **options: object) -> Path:
    ramp = np.linspace(100, 900, SIZE * SIZE).reshape(SIZE, SIZE).astype(dtype)
    seen = np.zeros((SIZE, SIZE), bool)
    seen[INSIDE.slices] = True
    path = folder / "scene.tif"
    extra = [(42113, 2, 0, text, False)]
    tifffile.imwrite(
        path, np.where(seen, ramp, ramp.dtype.type(value)), extratags=extra, metadata=None, **options
    )
    return path


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("float32", -9999, "-9999"),
        ("float32", np.finfo(np.float32).min, "-3.4028234663852886e+38"),
        ("uint16", 65535, "65535"),
        ("uint16", 0, "0"),
        ("int32", -32768, "-32768"),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_the_rest_is_stretched_as_if_they_were_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, value: float, text: str, lazy: bool
) -> None:
    path = written(tmp_path, dtype, value, text, tile=(48, 48))
    if lazy:
        monkeypatch.setattr(tiff, "LAZY_BYTES", 0)
    opened = open_image(path)
    assert opened.nodata == value
    source = PlaneSource.wrap(opened.image)
    inside, whole = source.read(INSIDE), source.read(Window.of_shape(source.shape))
    assert inside.min() == 0
    assert inside.max() == 1
    assert abs(inside.mean() - 0.5) < 0.01
    assert not whole[:RIM].any()
    assert not whole[:, :RIM].any()
    assert source.read(Window.of_shape(source.shape), (), 4).max() > 0.9
    shown = np.asarray(open_scene(path).levels[0])
    assert shown[INSIDE.slices].max() == 255
    assert not shown[:RIM].any()


def test_bytes_stay_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path, "uint8", 255, "255")
    opened = open_image(path)
    assert opened.nodata == 255
    assert isinstance(opened.image, np.ndarray)


def test_a_usual_value_is_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "float32", np.finfo(np.float32).min, "-3.4028234663852886e+38")
    open_image(path)
    open_scene(path)
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [("-9999", "uint8", None), ("0.5", "int16", None), ("nan", "float32", None), ("none", "int16", None),
     (None, "int16", None), ("inf", "float32", np.inf),
     ("-1.797e308", "float32", np.finfo(np.float32).min), ("7 ", "int16", 7)],
)  # fmt: skip
def test_only_values_that_pixels_can_have_count(text: str | None, dtype: str, value: float | None) -> None:
    assert stated_nodata(text, np.dtype(dtype)) == value


def test_another_value_may_stand_in_their_place() -> None:
    labels = Masked(np.array([[1, 255], [2, 0]], np.uint8), np.uint8(255), 0)
    assert np.array_equal(labels[:], [[1, 0], [2, 0]])
    assert labels[0].dtype == np.uint8
    assert np.array_equal(np.asarray(labels, int), [[1, 0], [2, 0]])
