"""Large scenes: bands, stretch, levels and the map's coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.errors import InputError
from napari_iseg.images import scene as module
from napari_iseg.images.gdal import has_place
from napari_iseg.images.scene import open_scene
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.georeference import check_same_place
from napari_iseg.labels.store import LabelStore

ROWS, COLS = 300, 260
NORTH, WEST, STEP = 5_300_000.0, 500_000.0, 0.5


def bands_of_scene() -> np.ndarray:
    """(4, rows, cols) uint16: blue, green, red, infrared, each a ramp of its own."""
    ramp = np.linspace(0, 1, ROWS * COLS).reshape(ROWS, COLS)
    return np.stack([300 + 900 * ramp, 100 + 2000 * ramp[::-1], 50 + 400 * ramp, 0 * ramp]).astype(np.uint16)


def geo_tags(model: int = 1) -> list[tuple[int, int, int, object, bool]]:
    keys = (1, 1, 0, 1, 1024, 0, 1, model)
    return [
        (33550, 12, 3, (STEP, STEP, 0.0), False),
        (33922, 12, 6, (0.0, 0.0, 0.0, WEST, NORTH, 0.0), False),
        (34735, 3, len(keys), keys, False),
    ]


def written(
    path: Path,
    names: tuple[str, ...] = ("blue", "green", "red", "nir"),
    role: str = "description",
    **options: object,
) -> Path:
    items = "".join(
        f'<Item name="{role.upper()}" sample="{i}" role="{role}">{name}</Item>'
        for i, name in enumerate(names)
    )
    tags = geo_tags()
    if names:
        tags.append((42112, 2, 0, f"<GDALMetadata>{items}</GDALMetadata>", False))
    tifffile.imwrite(
        path, np.moveaxis(bands_of_scene(), 0, -1), photometric="minisblack", planarconfig="contig",
        tile=(64, 64), extratags=tags, metadata=None, **options,
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("description", ("blue", "green", "red", "nir")),
        ("colorinterp", ("Blue", "Green", "Red", "Undefined")),  # as GDAL writes colours
    ],
)
def test_bands_are_those_that_the_file_names_and_are_stretched(
    tmp_path: Path, role: str, names: tuple[str, ...]
) -> None:
    scene = open_scene(written(tmp_path / "s.tif", names, role))
    assert scene.bands == (2, 1, 0)
    (level,) = scene.levels
    picture = level.compute()
    assert picture.shape == (ROWS, COLS, 3)
    assert picture.dtype == np.uint8
    for shown, band in enumerate(scene.bands):
        values = bands_of_scene()[band].astype(float)
        low, high = np.percentile(values, (0.1, 99.9))
        wanted = np.clip((values - low) / (high - low), 0, 1) * 255
        assert np.abs(picture[..., shown] - wanted).max() < 2


def test_without_names_the_first_three_and_a_choice_counts_before_both(tmp_path: Path) -> None:
    path = written(tmp_path / "s.tif", names=())
    assert open_scene(path).bands == (0, 1, 2)
    assert open_scene(path, (3, 2, 1)).bands == (3, 2, 1)
    grey = open_scene(path, (1,)).levels[0].compute()
    assert (grey[..., 0] == grey[..., 2]).all()


def test_pixels_lie_where_the_map_says(tmp_path: Path) -> None:
    scene = open_scene(written(tmp_path / "s.tif"))
    assert scene.on_map
    assert scene.scale == (-STEP, STEP)
    assert scene.translate == (NORTH - STEP / 2, WEST + STEP / 2)
    assert scene.unit == "metre"


def test_degrees_are_no_metres(tmp_path: Path) -> None:
    path = tmp_path / "lonlat.tif"
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8), extratags=geo_tags(model=2), metadata=None)
    assert open_scene(path).unit is None


def test_a_picture_without_a_map_stays_in_pixels(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, np.full((20, 30), 7, np.uint8))
    scene = open_scene(path)
    assert (scene.bands, scene.scale, scene.translate, scene.on_map) == ((0,), (1.0, 1.0), (0.0, 0.0), False)
    assert (scene.levels[0].compute() == 7).all()


def test_levels_go_down_to_one_block_and_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 100)
    scene = open_scene(written(tmp_path / "s.tif"))
    assert [level.shape for level in scene.levels] == [(300, 260, 3), (150, 130, 3), (75, 65, 3)]
    fine, coarse = scene.levels[0].compute().astype(float), scene.levels[2].compute().astype(float)
    assert np.abs(fine.reshape(75, 4, 65, 4, 3).mean((1, 3)) - coarse).max() <= 1.5


@pytest.mark.parametrize(
    ("tag", "byte", "bit"), [(322, 4, 1), (323, 8, 64), (33550, 4, 2), (33922, 4, 1), (42112, 8, 1)]
)
def test_damaged_tags_are_one_sentence(tmp_path: Path, tag: int, byte: int, bit: int) -> None:
    path = written(tmp_path / "s.tif")
    with tifffile.TiffFile(path) as file:
        entry = file.pages.first.tags[tag].offset
    content = bytearray(path.read_bytes())
    content[entry + byte] ^= bit  # byte 4: how many values, byte 8: the value, or where it lies
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.tif could not be read as a TIFF image \(.+\); replace it"):
        open_scene(path)


def test_what_cannot_be_shown_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "s.tif")
    with pytest.raises(InputError, match=r"has 4 band\(s\)"):
        open_scene(path, (0, 1, 4))
    with pytest.raises(InputError, match="one to three"):
        open_scene(path, (0, 1, 2, 3))
    assert open_scene(path, (0, 1)).bands == (0, 1)  # with no blue
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.zeros((5, 40, 50), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="stack of planes"):
        open_scene(stack)
    with pytest.raises(InputError, match="no file"):
        open_scene(tmp_path / "nowhere.tif")
    monkeypatch.setattr(module, "_WITHOUT_LEVELS", 1000)
    with pytest.raises(InputError, match="gdaladdo"):
        open_scene(path)


def test_a_tie_point_may_be_a_centre_and_a_unit_a_foot(tmp_path: Path) -> None:
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2, 3076, 0, 1, 9003)
    path = tmp_path / "point.tif"
    tifffile.imwrite(
        path, np.zeros((40, 40), np.uint8), extratags=[*geo_tags()[:2], (34735, 3, len(keys), keys, False)]
    )
    scene = open_scene(path)
    assert scene.translate == (NORTH, WEST)
    assert scene.unit == "foot"


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize("without_rasterio", [False, True])
def test_a_transformation_places_a_raster_as_a_step_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_rasterio: bool, point: bool
) -> None:
    if without_rasterio:
        monkeypatch.setattr("napari_iseg.images.gdal.find_spec", lambda _name: None)
    path, half = tmp_path / "m.tif", 0 if point else STEP / 2
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 1 + point)
    for turn in (0.0, 0.1):
        matrix = (STEP, turn, 0, WEST, turn, -STEP, 0, NORTH, 0, 0, 0, 0, 0, 0, 0, 1)
        tags = [(34264, 12, 16, matrix, False), (34735, 3, len(keys), keys, False)]
        tifffile.imwrite(path, np.zeros((20, 30), np.uint8), extratags=tags, metadata=None)
        scene = open_scene(path)
        assert (scene.on_map, scene.unit) == (True, "metre")
        if not turn:
            assert (scene.scale, scene.affine) == ((-STEP, STEP), None)
            assert scene.translate == (NORTH - half, WEST + half)
    np.testing.assert_allclose(np.abs(scene.scale), np.hypot(STEP, 0.1))
    assert scene.translate == (0, 0)
    to_map = scene.affine @ np.diag([*scene.scale, 1])
    corner = np.array([0, 0, 1]) if point else np.array([-0.5, -0.5, 1])
    np.testing.assert_allclose(to_map @ corner, (NORTH, WEST, 1), atol=1e-6)
    along = to_map @ (corner + np.array([0, 10, 0]))
    np.testing.assert_allclose(along, (NORTH + 1, WEST + 5, 1), atol=1e-6)


def test_a_world_file_places_a_raster_and_its_labels(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "w.tif"
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8))
    (tmp_path / "w.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    scene = open_scene(path)
    assert (scene.scale, scene.translate) == ((-10, 10), (4_999_995, 500_005))
    labels = LabelStore((20, 30))
    labels.write(1, (), (2, 3, 5, 6), np.ones((3, 3), bool))
    export_labels(labels, tmp_path / "labels.tif", like=path)
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert file.transform == rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)


def test_rows_may_go_north(tmp_path: Path) -> None:
    path = tmp_path / "south.tif"
    matrix = (STEP, 0, 0, WEST, 0, STEP, 0, NORTH, 0, 0, 0, 0, 0, 0, 0, 1)
    keys = (1, 1, 0, 1, 1024, 0, 1, 1)
    tags = [(34264, 12, 16, matrix, False), (34735, 3, len(keys), keys, False)]
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8), extratags=tags, metadata=None)
    scene = open_scene(path)
    assert (scene.on_map, scene.scale) == (True, (STEP, STEP))
    assert scene.translate == (NORTH + STEP / 2, WEST + STEP / 2)


@pytest.mark.parametrize(
    "tags",
    [
        {34264: (np.nan,) * 16},
        {34264: (1.0, 0, 0, np.inf, 0, -1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)},
        {34264: (0.0,) * 16},
        {33550: (np.nan, np.nan, np.nan), 33922: (0.0,) * 6},
        {33550: (1.0, 1.0, 0.0), 33922: (0.0, 0, 0, np.nan, 0, 0)},
    ],
)
@pytest.mark.parametrize("crs", [False, True])
def test_tags_that_hold_no_numbers_give_no_place(tmp_path: Path, tags: dict[int, Any], crs: bool) -> None:
    pytest.importorskip("rasterio")
    path, keys = tmp_path / "n.tif", (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    extra = [(tag, 12, len(values), values, False) for tag, values in tags.items()]
    if crs:
        extra.append((34735, 3, len(keys), keys, False))
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8), extratags=extra, metadata=None)
    scene = open_scene(path)
    assert (scene.on_map, scene.scale, scene.translate, scene.affine) == (False, (1, 1), (0, 0), None)
    labels = LabelStore((20, 30))
    labels.write(1, (), (2, 3, 5, 6), np.ones((3, 3), bool))
    with pytest.raises(InputError, match="needs map coordinates and the image has none"):
        export_labels(labels, tmp_path / "o.gpkg", like=path)
    assert has_place(path) is crs
    check_same_place(path, path)
    if not crs:
        assert tifffile.imread(export_labels(labels, tmp_path / "l.tif", like=path)).sum() == 9
