"""Exports: what other programs read is what the store holds, with its scale."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr
from zarr.storage import LocalStore

from napari_iseg.errors import InputError, SaveError
from napari_iseg.labels import export_tiff
from napari_iseg.labels.export import check_export, export_labels
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window


def filled(shape, **options) -> tuple[LabelStore, np.ndarray]:
    store = LabelStore(shape, **options)
    truth = np.zeros(shape, np.uint32)
    rng = np.random.default_rng(0)
    for label in range(1, 6):
        plane = tuple(int(rng.integers(size)) for size in shape[:-2])
        top, left = (int(rng.integers(size - 8)) for size in shape[-2:])
        window = Window(top, left, top + 8, left + 8)
        mask = rng.random((8, 8)) > 0.3
        store.write(label, plane, window, mask)
        view = truth[plane][window.slices]
        view[mask & (view == 0)] = label
    return store, truth


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((40, 50), "yx"), ((4, 40, 50), "zyx"), ((3, 4, 40, 50), "tzyx"), ((2, 2, 3, 20, 30), "tczyx")],
)
def test_imagej_tiff_has_every_label_scale_and_unit(tmp_path, shape, axes):
    units = [{"t": "second", "c": None}.get(axis, "micrometer") for axis in axes]
    scale = [{"t": 2.0, "c": 1.0, "z": 0.5}.get(axis, 0.25) for axis in axes]
    store, truth = filled(shape, axes=axes, scale=scale, units=units)
    path = export_labels(store, tmp_path / "labels.tif")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_imagej
        series = tiff.series[0]
        order = [axes.upper().index(axis) for axis in series.axes]
        np.testing.assert_array_equal(series.asarray(), truth.transpose(order))
        assert tiff.imagej_metadata["unit"] == "um"
        assert tiff.imagej_metadata.get("spacing", 0.5) == 0.5
        numerator, denominator = tiff.pages[0].tags["XResolution"].value
        assert numerator / denominator == pytest.approx(4)


@pytest.mark.parametrize("shape", [(1100, 700), (3, 600, 520)])
def test_ome_tiff_is_tiled_and_knows_its_physical_size(tmp_path, shape):
    store, truth = filled(shape, scale=[0.5] * len(shape), units=["um"] * len(shape))
    path = export_labels(store, tmp_path / "labels.ome.tif")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert tiff.pages[0].is_tiled
        np.testing.assert_array_equal(tiff.asarray(), truth)
        assert 'PhysicalSizeX="0.5"' in tiff.ome_metadata
        assert 'PhysicalSizeXUnit="µm"' in tiff.ome_metadata


def test_labels_beyond_16_bits_are_kept_in_plain_tiff(tmp_path):
    store = LabelStore((20, 20))
    store.write(70_000, (), Window(2, 2, 4, 4), np.ones((2, 2), bool))
    assert tifffile.imread(export_labels(store, tmp_path / "big.tif"))[3, 3] == 70_000


def test_large_planes_are_written_in_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(export_tiff, "_IMAGEJ_PLANE", 1000)
    store, truth = filled((60, 60))
    path = export_labels(store, tmp_path / "labels.tif")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        np.testing.assert_array_equal(tiff.asarray(), truth)


def test_ome_zarr_reads_back_with_metadata_and_replaces_an_older_export(tmp_path):
    store, truth = filled((3, 700, 600), scale=(2, 0.5, 0.5), translate=(1, 2, 3), units=("um", "um", "um"))
    path = tmp_path / "out" / "labels.ome.zarr"
    export_labels(LabelStore((9, 9)), path)
    export_labels(store, path)
    np.testing.assert_array_equal(zarr.open_group(path)["0"][:], truth)
    np.testing.assert_array_equal(zarr.open_group(path)["1"][:], truth[:, ::2, ::2])
    again = LabelStore.open(path)
    assert again.space == store.space
    assert again.next_label() == 6
    assert [entry.name for entry in path.parent.iterdir()] == ["labels.ome.zarr"]


def test_png_holds_16_bit_labels(tmp_path):
    from PIL import Image

    store, truth = filled((40, 50))
    np.testing.assert_array_equal(np.asarray(Image.open(export_labels(store, tmp_path / "l.png"))), truth)
    with pytest.raises(InputError, match=r"\.tif or \.zarr"):
        export_labels(LabelStore((2, 8, 8)), tmp_path / "stack.png")
    assert not (tmp_path / "stack.png").exists()


def test_geotiff_takes_crs_and_transform_of_the_image(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.transform.from_origin(500_000, 6_000_000, 0.5, 0.5)
    scene = tmp_path / "scene.tif"
    place = {
        "height": 60,
        "width": 50,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:25832",
        "transform": transform,
    }
    with rasterio.open(scene, "w", driver="GTiff", **place) as target:
        target.write(np.zeros((1, 60, 50), np.uint8))
    store, truth = filled((60, 50))
    path = export_labels(store, tmp_path / "labels.tif", like=scene)
    with rasterio.open(path) as source:
        assert source.crs.to_epsg() == 25832
        assert source.transform == transform
        np.testing.assert_array_equal(source.read(1), truth)
    with pytest.raises(InputError, match="the image itself"):
        export_labels(store, scene, like=scene)


def test_a_part_of_an_image_does_not_take_its_place(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.transform.from_origin(500_000, 6_000_000, 0.5, 0.5)
    whole = export_labels(filled((60, 50))[0], tmp_path / "w.tif", crs="EPSG:25832", transform=place)
    part, _ = filled((30, 50))
    with pytest.raises(InputError, match=r"The labels have 30 x 50 pixels .* has 60 x 50; give the place"):
        export_labels(part, tmp_path / "part.tif", like=whole)
    assert not (tmp_path / "part.tif").exists()
    assert export_labels(part, tmp_path / "part.tif", like=whole, transform=place).exists()


def test_an_image_that_is_not_there_gives_no_place(tmp_path):
    for ask in (export_labels, check_export):
        with pytest.raises(InputError, match=r"There is no image at .*twon\.tif; check the path"):
            ask(LabelStore((9, 9)), tmp_path / "o.tif", like=tmp_path / "twon.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("byte", "bit"), [(4, 1), (5, 4)])
def test_a_damaged_image_gives_no_place(tmp_path, byte, bit):
    pytest.importorskip("rasterio")
    scene, place = tmp_path / "scene.tif", [(34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), False)]
    tifffile.imwrite(scene, np.zeros((60, 50), np.uint8), extratags=place, metadata=None)
    with tifffile.TiffFile(scene) as file:
        width = file.pages.first.tags["ImageWidth"].offset
    content = bytearray(scene.read_bytes())
    content[width + byte] ^= bit  # how many widths it has
    scene.write_bytes(content)
    with pytest.raises(InputError, match=r"scene\.tif could not be read as a TIFF image"):
        export_labels(LabelStore((60, 50)), tmp_path / "labels.tif", like=scene)
    assert list(tmp_path.iterdir()) == [scene]


@pytest.mark.parametrize(
    "transform", ["abc", (1, 2, 3), (np.nan, 0, 0, 0, -1, 0), (1, 0, np.inf, 0, -1, 0), (1, 1, 0, 1, 1, 0)]
)
def test_a_transform_that_is_none_is_refused(tmp_path, transform):
    pytest.importorskip("rasterio")
    with pytest.raises(InputError, match=r"affine.Affine or its six numbers"):
        export_labels(LabelStore((40, 50)), tmp_path / "a.tif", transform=transform)
    assert list(tmp_path.iterdir()) == []


def test_without_rasterio_map_coordinates_are_refused_not_lost(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InputError, match=r"napari-iseg\[geo\]"):
        export_labels(LabelStore((5, 5)), tmp_path / "labels.tif", crs="EPSG:25832")
    with pytest.raises(InputError, match="Only GeoTIFF and GeoPackage"):
        export_labels(LabelStore((5, 5)), tmp_path / "labels.png", crs="EPSG:25832")


def test_unknown_suffix_lists_the_valid_ones(tmp_path):
    with pytest.raises(InputError, match=r"\.ome\.tif, .*\.zarr"):
        export_labels(LabelStore((5, 5)), tmp_path / "labels.jpg")


def test_a_name_too_long_for_its_temporary_one_is_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match="too long; use at most 200 bytes"):
        check_export(LabelStore((8, 8)), tmp_path / ("x" * 240 + ".tif"))


@pytest.mark.parametrize("ending", [".zarr", ".ome.zarr", ".tif", ".png"])
def test_the_longest_name_is_written_and_replaced(tmp_path, ending):
    path = tmp_path / ("x" * (200 - len(ending)) + ending)
    for _ in range(2):
        check_export(LabelStore((8, 8)), path)
        export_labels(LabelStore((8, 8)), path)
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["l.zarr", "l.tif"])
def test_an_export_onto_a_link_replaces_what_it_names(tmp_path, name):
    store, truth = filled((40, 50))
    link, real = tmp_path / "home" / name, tmp_path / "disk" / name
    link.parent.mkdir()
    link.symlink_to(real)
    for _ in range(2):  # the first time there is nothing
        export_labels(store, link)
        assert link.is_symlink()
        assert [real] == list(real.parent.iterdir())
        found = LabelStore.open(real).read() if name == "l.zarr" else tifffile.imread(real)
        np.testing.assert_array_equal(found, truth)
        store.erase(1)
        truth[truth == 1] = 0


def test_a_group_that_is_not_labels_is_never_replaced(tmp_path):
    zarr.save_array(tmp_path / "image.zarr", np.ones((4, 4)))
    with pytest.raises(InputError, match="holds no labels"):
        export_labels(LabelStore((4, 4)), tmp_path / "image.zarr")
    assert zarr.open_array(tmp_path / "image.zarr")[0, 0] == 1


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    store, _ = filled((40, 50))
    path = tmp_path / "labels.tif"
    export_labels(store, path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with pytest.raises(SaveError, match="No space left"):
        export_labels(store, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("written", [0, 2, 4])
def test_a_full_disk_leaves_no_part_of_a_group(tmp_path, monkeypatch, written):
    store, _ = filled((40, 50))
    path = export_labels(store, tmp_path / "labels.zarr")
    before = sorted(tmp_path.rglob("*"))
    sound, calls = LocalStore.set, []

    async def full(self, *args, **kwargs):
        calls.append(args)
        if len(calls) > written:
            raise OSError(28, "No space left on device")
        await sound(self, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "set", full)
    monkeypatch.setattr(LocalStore, "set_if_not_exists", full)
    with pytest.raises(SaveError) as refusal:
        export_labels(store, path)
    assert str(refusal.value) == (
        f"{path} could not be written (No space left on device); free some space or choose another folder."
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_exports_of_large_planes_are_streamed(tmp_path, name):
    store = LabelStore((30_000, 2048))
    store.write(1, (), Window(20_000, 500, 20_100, 600), np.ones((100, 100), bool))
    tracemalloc.start()
    path = export_labels(store, tmp_path / name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 2**20  # a third of the plane in 16 bits
    if name.endswith(".zarr"):
        assert (LabelStore.open(path).read((), Window(19_990, 490, 20_110, 610)) == 1).sum() == 10_000
    else:
        assert tifffile.imread(path).sum() == 10_000
