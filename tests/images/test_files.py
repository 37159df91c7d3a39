"""Image files of every kind: axes, colours, sizes, and the words for what is no image."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_iseg.errors import DamageError, InputError
from napari_iseg.images import tiff
from napari_iseg.images.files import open_image
from napari_iseg.images.source import PlaneSource
from napari_iseg.prompts import Window

RNG = np.random.default_rng(3)


def test_grey_png_and_colour_jpeg(tmp_path):
    grey = RNG.integers(0, 255, (20, 30)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    opened = open_image(tmp_path / "grey.png")
    np.testing.assert_array_equal(opened.image, grey)
    assert (opened.axes, opened.rgb, opened.shape) == (("y", "x"), False, (20, 30))
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "colour.jpg")
    opened = open_image(tmp_path / "colour.jpg")
    assert (opened.axes, opened.rgb, opened.shape) == (("y", "x"), True, (20, 30))


def test_grey_with_transparency_is_grey(tmp_path):
    grey = RNG.integers(0, 255, (20, 30, 2)).astype(np.uint8)
    Image.fromarray(grey, "LA").save(tmp_path / "la.png")
    opened = open_image(tmp_path / "la.png")
    np.testing.assert_array_equal(opened.image, grey[..., 0])


def test_the_inks_of_printers_are_opened_as_the_colours_they_print(tmp_path):
    blue = np.zeros((8, 9, 3), np.uint8)
    blue[..., 2] = 250
    Image.fromarray(blue).convert("CMYK").save(tmp_path / "printed.jpg", quality=100)
    opened = open_image(tmp_path / "printed.jpg")
    assert opened.rgb
    assert np.abs(opened.image.astype(int) - blue).max() < 8


def test_a_gif_of_one_frame_is_a_picture(tmp_path):
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(tmp_path / "one.gif")
    opened = open_image(tmp_path / "one.gif")
    assert (opened.axes, opened.shape) == (("y", "x"), (5, 6))


@pytest.mark.parametrize("name", ["l.png", "l.gif", "l.bmp"])
def test_labels_in_a_palette_are_numbers_and_a_picture_its_colours(tmp_path, name):
    values = (np.arange(30).reshape(5, 6) % 3).astype(np.uint8)
    values[0, 0] = 255  # PASCAL VOC's border
    picture = Image.fromarray(values, "P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * 759)
    picture.save(tmp_path / name, optimize=False)
    opened = open_image(tmp_path / name, numbers=True)
    assert (opened.rgb, opened.axes, opened.shape) == (False, ("y", "x"), (5, 6))
    np.testing.assert_array_equal(opened.image, values)
    assert open_image(tmp_path / name).rgb


def test_pictures_without_a_palette_or_of_several_frames_are_the_same_as_labels(tmp_path):
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    Image.fromarray(grey).save(tmp_path / "g.png")
    np.testing.assert_array_equal(open_image(tmp_path / "g.png", numbers=True).image, grey)
    frames = [Image.fromarray(grey + k).convert("P") for k in range(2)]
    frames[0].save(tmp_path / "m.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "m.gif", numbers=True).image.shape[:3] == (2, 5, 6)
    (tmp_path / "no.png").write_bytes(b"hello")
    with pytest.raises(DamageError, match="could not be read as an image"):
        open_image(tmp_path / "no.png", numbers=True)


def test_imagej_stack_has_its_sizes(tmp_path):
    stack = RNG.integers(0, 999, (4, 20, 30)).astype(np.uint16)
    metadata = {"axes": "ZYX", "spacing": 2.5, "unit": "um"}
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, resolution=(4, 2), metadata=metadata)
    opened = open_image(tmp_path / "s.tif")
    assert opened.axes == ("z", "y", "x")
    assert opened.scale == (2.5, 0.5, 0.25)
    assert opened.units == ("um", "um", "um")


def test_time_has_its_steps(tmp_path):
    movie = np.zeros((4, 2, 20, 30), np.uint16)
    imagej = {"axes": "TZYX", "spacing": 2.5, "unit": "um", "finterval": 30.0}
    tifffile.imwrite(tmp_path / "j.tif", movie, imagej=True, resolution=(4, 2), metadata=imagej)
    ome = {"axes": "TZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.5}
    ome |= {"TimeIncrement": 30.0, "TimeIncrementUnit": "s"}
    tifffile.imwrite(tmp_path / "o.ome.tif", movie, ome=True, metadata=ome)
    for name in ("j.tif", "o.ome.tif"):
        opened = open_image(tmp_path / name)
        assert opened.scale == (30, 2.5, 0.5, 0.25)
        assert opened.units[0] == "s"


@pytest.mark.parametrize("size", [float("nan"), -1.0, float("inf")])
def test_sizes_that_make_no_sense_are_not_stated(tmp_path, size):
    movie = np.zeros((4, 2, 20, 30), np.uint16)
    imagej = {"axes": "TZYX", "spacing": size, "unit": "um", "finterval": size}
    tifffile.imwrite(tmp_path / "j.tif", movie, imagej=True, resolution=(4, 2), metadata=imagej)
    ome = {"axes": "TZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": size}
    tifffile.imwrite(tmp_path / "o.ome.tif", movie, ome=True, metadata=ome | {"TimeIncrement": size})
    for name in ("j.tif", "o.ome.tif"):
        opened = open_image(tmp_path / name)
        assert (opened.scale, opened.units[:2]) == ((1, 1, 0.5, 0.25), (None, None))


@pytest.mark.parametrize(("axes", "shape", "channel"), [("CYX", (5, 20, 30), 0), ("ZCYX", (4, 2, 20, 30), 1)])
def test_channels_are_no_planes(tmp_path, axes, shape, channel):
    tifffile.imwrite(tmp_path / "c.ome.tif", np.zeros(shape, np.uint16), ome=True, metadata={"axes": axes})
    opened = open_image(tmp_path / "c.ome.tif")
    assert opened.channel_axis == channel
    assert opened.shape == tuple(size for axis, size in enumerate(shape) if axis != channel)


def test_a_large_tiff_and_a_pyramid_are_read_by_windows(tmp_path, monkeypatch):
    image = RNG.integers(0, 255, (256, 512)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", ome=True) as writer:
        writer.write(image, tile=(64, 64), subifds=1, metadata={"axes": "YX"})
        writer.write(image[::2, ::2], tile=(64, 64), subfiletype=1)
    opened = open_image(tmp_path / "p.ome.tif")
    assert [level.shape for level in opened.image] == [(256, 512), (128, 256)]
    np.testing.assert_array_equal(opened.image[0][100:110, 300:310], image[100:110, 300:310])
    monkeypatch.setattr(tiff, "LAZY_BYTES", 1000)
    tifffile.imwrite(tmp_path / "l.tif", image, tile=(64, 64))
    opened = open_image(tmp_path / "l.tif")
    assert isinstance(opened.image, zarr.Array)
    np.testing.assert_array_equal(opened.image[7:9, :], image[7:9])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_with_channels_and_sizes(tmp_path, version):
    path = tmp_path / "image.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    for level in range(2):
        group.create_array(str(level), shape=(3, 2, 40 >> level, 60 >> level), dtype="uint16")
    axes = [{"name": "z", "type": "space", "unit": "micrometer"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [2.0, 1.0, 0.5, 0.25]}]}
        for level in range(2)
    ]
    content = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    group.attrs.update(content if version == "0.4" else {"ome": {"version": "0.5", **content}})
    opened = open_image(path)
    assert (opened.axes, opened.scale, opened.channel_axis) == (("z", "y", "x"), (2.0, 0.5, 0.25), 1)
    assert opened.shape == (3, 40, 60)
    assert len(opened.image) == 2


def test_ome_zarr_lies_where_the_whole_pyramid_is_put(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(8, 9), dtype="u1", chunks=(8, 9))
    fine = [{"type": "scale", "scale": [1, 2]}, {"type": "translation", "translation": [4, 0]}]
    whole = [{"type": "scale", "scale": [0.5, 0.5]}, {"type": "translation", "translation": [10, 20]}]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": name, "type": "space"} for name in "yx"],
            "datasets": [{"path": "0", "coordinateTransformations": fine}],
            "coordinateTransformations": whole,
        }
    ]
    opened = open_image(tmp_path / "a.zarr")
    assert opened.scale == (0.5, 1.0)
    assert opened.translate == (12, 20)


@pytest.mark.parametrize(
    ("own", "whole", "scale"),
    [
        ([{"type": "affine", "affine": [[1, 0, 0], [0, 1, 0]]}], None, None),
        ([{"type": "scale", "path": "s"}], None, None),
        ([{"type": "scale", "scale": [2, 3]}], [{"type": "scale", "path": "s"}], (2, 3)),
        ([{"type": "scale", "scale": [2, 3]}], [{"type": "scale", "scale": [1, 1, 1]}], (2, 3)),
        ([{"type": "identity"}, {"scale": [2, 3]}], [{"type": "translation", "translation": None}], None),
        (None, None, None),
    ],
)
def test_an_ome_zarr_opens_whatever_else_it_says_of_its_place(tmp_path, own, whole, scale):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(8, 9), dtype="u1", chunks=(8, 9))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": own}]
    stated = {"version": "0.4", "axes": axes, "datasets": datasets, "coordinateTransformations": whole}
    group.attrs["multiscales"] = [stated]
    opened = open_image(tmp_path / "a.zarr")
    assert (opened.shape, opened.scale, opened.translate) == ((8, 9), scale, None)


def test_a_tiff_that_was_read_is_closed(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), np.uint8))
    made: list[tifffile.TiffFile] = []
    sound = tifffile.TiffFile

    def kept(path):
        made.append(sound(path))
        return made[-1]

    monkeypatch.setattr(tifffile, "TiffFile", kept)
    open_image(tmp_path / "a.tif")
    assert [file.filehandle.closed for file in made] == [True]


def test_a_plain_zarr_array(tmp_path):
    zarr.save_array(tmp_path / "a.zarr", np.zeros((3, 20, 30), np.float32))
    opened = open_image(tmp_path / "a.zarr")
    assert (opened.shape, opened.rgb) == ((3, 20, 30), False)


def test_a_missing_codec_is_named(tmp_path):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "sys.modules['imagecodecs'] = None  # as if it were not installed\n"
        "from napari_iseg.images.files import open_image\n"
        "from napari_iseg.errors import InputError\n"
        "try:\n"
        "    open_image(Path(sys.argv[1]))\n"
        "except InputError as error:\n"
        "    print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lzw.tif")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install imagecodecs" in result.stdout


def _text(path):
    path.write_text("no image")


def _group(path):
    zarr.open_group(path, mode="w").create_group("inner")


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("gone.tif", lambda path: None, "There is no file"),
        ("text.tif", _text, "could not be read as a TIFF"),
        ("text.png", _text, "could not be read as an image"),
        ("text.txt", _text, "of a kind that is not read; save it as TIFF"),
        ("two-bytes.txt", lambda path: path.write_bytes(b"hi"), "of a kind that is not read"),
        ("volume.nrrd", _text, "of a kind that is not read; save it as TIFF"),
        ("volume.nii", _text, "of a kind that is not read"),
        ("film.mp4", _text, "of a kind that is not read"),
        ("page.pdf", _text, "of a kind that is not read"),
        ("photo.heic", _text, "of a kind that is not read"),
        ("series.dcm", _text, "of a kind that is not read"),
        ("photo.webp", _text, "could not be read as an image .*; replace it by an undamaged copy"),
        ("slide.svs", _text, "could not be read as an image"),
        ("empty.mp4", lambda path: path.touch(), "is empty"),
        ("two-bytes.png", lambda path: path.write_bytes(b"hi"), "could not be read as an image"),
        ("array.npy", lambda path: np.save(path, np.zeros((4, 4))), "of a kind that is not read"),
        ("folder", lambda path: path.mkdir(), "no zarr image"),
        ("group.zarr", _group, "zarr group without an image; it holds inner"),
        ("half.tif", lambda path: path.write_bytes(_whole_tiff(path)[:150]), "could not be read"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(InputError, match=words):
        open_image(tmp_path / name)


def _whole_tiff(path):
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8))
    return path.read_bytes()


def _broken(path):
    """A compressed TIFF file of two planes, the pixels of the second overwritten."""
    tifffile.imwrite(path, RNG.integers(0, 255, (2, 128, 128)).astype(np.uint8), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, size = file.pages[1].dataoffsets[0], file.pages[1].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"x" * size
    path.write_bytes(content)


def test_a_tiff_with_broken_pixels_is_refused_at_once(tmp_path):
    _broken(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif could not be read as a TIFF image \(.+undamaged copy"):
        open_image(tmp_path / "a.tif")


def test_a_lazily_read_tiff_with_broken_pixels_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "LAZY_BYTES", 1000)
    _broken(tmp_path / "a.tif")
    source = PlaneSource.wrap(open_image(tmp_path / "a.tif").image)
    window = Window(0, 0, 128, 128)
    source.read(window, (0,))
    with pytest.raises(InputError, match=r"a\.tif could not be read"):
        source.read(window, (1,))


def test_a_zarr_with_a_broken_chunk_names_the_folder(tmp_path):
    zarr.save_array(tmp_path / "a.zarr", RNG.integers(0, 255, (64, 64)).astype(np.uint8))
    source = PlaneSource.wrap(open_image(tmp_path / "a.zarr").image)
    (tmp_path / "a.zarr" / "c" / "0" / "0").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"a\.zarr could not be read"):
        source.read(Window(0, 0, 64, 64))


def test_an_array_without_a_file_is_the_image():
    class Broken:
        shape, dtype, ndim = (20, 20), np.dtype(np.uint8), 2

        def __getitem__(self, _index):
            raise RuntimeError("gone")

    with pytest.raises(InputError, match=r"^The image could not be read as an image \(gone\)"):
        PlaneSource.wrap(Broken()).read(Window(0, 0, 20, 20))


def test_a_disk_that_does_not_answer_is_no_damaged_file():
    class Drive:
        shape, dtype, ndim = (20, 20), np.dtype(np.uint8), 2

        def __getitem__(self, _index):
            raise OSError(5, "Input/output error")

    with pytest.raises(DamageError, match=r"could not be read \(Input/output error\); see that its disk or"):
        PlaneSource.wrap(Drive()).read(Window(0, 0, 20, 20))
