import zipfile
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_iseg.errors import InputError
from napari_iseg.evaluation.datasets import Dataset, Item, concatenate, open_dataset, unique_names
from napari_iseg.evaluation.splits import split_items


@pytest.fixture
def folder(tmp_path):
    """Five images with two instances each; the image is a JPEG, the labels a PNG."""
    root = tmp_path / "cells"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a_001", "b_004", "c_010", "d_020", "e_033"):
        labels = np.zeros((40, 50), np.uint16)
        labels[2:12, 3:13] = 1
        labels[20:35, 20:40] = 300
        labels[0, 0] = 7  # too small for a target
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(
            root / "images" / f"{name}.jpg"
        )
        Image.fromarray(labels).save(root / "labels" / f"{name}.png")
    (root / "index.csv").write_text("name\n")
    return root


def zipped(folder, prefix=""):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, prefix + str(file.relative_to(folder)))
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "zip with an outer folder"])
def test_folder_and_zip_read_alike(folder, kind):
    path = {"folder": folder, "zip": zipped(folder), "zip with an outer folder": zipped(folder, "cells/")}[
        kind
    ]
    dataset = open_dataset(path)
    assert (dataset.name, dataset.kind, len(dataset)) == ("cells", "instances", 5)
    item = dataset[1]
    assert item.name == "b_004"
    assert item.image().shape == (40, 50, 3)
    assert item.image().dtype == np.uint8
    assert item.labels()[30, 30] == 300
    assert list(dataset.objects())[:3] == [(0, 1), (0, 300), (1, 1)]
    assert np.count_nonzero(item.truth(300)) == 300


def test_eight_bit_labels_are_classes_unless_told_otherwise(tmp_path):
    for part, value in (("images", 90), ("labels", 2)):
        (tmp_path / part).mkdir()
        Image.fromarray(np.full((20, 20), value, np.uint8)).save(tmp_path / part / "x.png")
    assert open_dataset(tmp_path).kind == "semantic"
    assert open_dataset(tmp_path, kind="instances").kind == "instances"
    ignoring = open_dataset(tmp_path, ignore=2)
    assert list(ignoring.objects()) == []
    assert (ignoring[0].truth(1) == -1).all()


@pytest.mark.parametrize("ignore", [None, 1, 128])
def test_binary_labels_are_one_object_whatever_their_value_or_colour(tmp_path, ignore):
    labels = np.zeros((20, 20, 3), np.uint8)
    labels[:8, :, 0], labels[8:12, :, 2], labels[12:14] = 38, 75, ignore or 0
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        Image.fromarray(labels).save(tmp_path / part / "x.png")
    item = open_dataset(tmp_path, kind="binary", ignore=ignore)[0]
    (label,) = item.ids(1)
    truth = item.truth(label)
    assert (truth[:12] == 1).all()
    assert (truth[12:14] == (0 if ignore is None else -1)).all()
    assert (truth[14:] == 0).all()
    assert ((item.targets() > 0) == (truth == 1)).all()


@pytest.mark.parametrize(("option", "named"), [({"kind": "foo"}, "got 'foo'"), ({"min_area": -1}, "got -1")])
def test_options_that_cannot_be_are_refused(folder, option, named):
    with pytest.raises(InputError, match=named):
        open_dataset(folder, **option)


def test_palette_labels_are_indices_not_colours(tmp_path):
    labels = np.zeros((20, 20), np.uint8)
    labels[:, 10:] = 1
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        picture = Image.fromarray(labels, "P")
        picture.putpalette([0, 0, 0, 200, 100, 50])
        picture.save(tmp_path / part / "x.png")
    item = open_dataset(tmp_path)[0]
    assert item.ids(50) == [1]
    assert item.image()[0, 15].tolist() == [200, 100, 50]


@pytest.fixture
def volume(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (12, 20, 30), dtype=np.uint8)
    labels = np.zeros(image.shape, np.uint16)
    labels[:, 2:10, 2:12] = 5
    labels[:, 2:10, 16:28] = 5  # one body that crosses the slice twice
    tifffile.imwrite(tmp_path / "em_image.tif", image, compression="zlib")
    tifffile.imwrite(tmp_path / "em_labels.tif", labels, compression="zlib")
    return tmp_path / "em_image.tif", image, labels


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_volume_is_sliced_along_any_axis(volume, axis):
    path, image, labels = volume
    dataset = open_dataset(path, axis=axis, components=False)
    assert len(dataset) == image.shape[axis]
    np.testing.assert_array_equal(dataset[7].image(), image.take(7, axis))
    np.testing.assert_array_equal(dataset[7].labels(), labels.take(7, axis))


def test_parts_of_a_body_in_a_slice_are_objects_of_their_own(volume):
    assert len(list(open_dataset(volume[0]).subset([3]).objects())) == 2
    assert len(list(open_dataset(volume[0], components=False).subset([3]).objects())) == 1


def test_pair_with_bands_first_comes_out_bands_last(tmp_path):
    tifffile.imwrite(tmp_path / "scene.tif", np.zeros((5, 30, 40), np.int16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "scene_labels.tif", np.ones((30, 40), np.uint16))
    dataset = open_dataset(tmp_path / "scene.tif")
    assert dataset[0].image().shape == (30, 40, 5)
    train, held_out = dataset.split(0.25)
    assert (train[0].labels().shape, held_out[0].labels().shape) == ((30, 28), (30, 10))
    assert held_out[0].image().shape == (30, 10, 5)


def test_split_keeps_slices_in_a_block_with_a_gap(volume):
    train, held_out = open_dataset(volume[0]).split(0.25, seed=3)
    inside = sorted(i.position for i in held_out)
    assert len(inside) == 3
    assert inside == list(range(inside[0], inside[0] + 3))
    assert min(abs(t.position - v) for t in train for v in inside) == 2


def test_split_is_fixed_by_name_and_seed(folder):
    dataset = open_dataset(folder)
    train, held_out = dataset.split(0.4)
    assert (len(train), len(held_out)) == (3, 2)
    assert {i.name for i in train}.isdisjoint(i.name for i in held_out)
    again = open_dataset(zipped(folder)).split(0.4)
    assert [i.name for i in again[1]] == [i.name for i in held_out]
    splits = {tuple(i.name for i in dataset.split(0.4, seed=s)[1]) for s in range(8)}
    assert len(splits) > 1


def test_names_that_differ_in_the_last_number_stay_together():
    names = [f"{specimen}_{i}" for specimen in "abcdefgh" for i in range(3)]
    train, held_out = split_items([(n, "", None) for n in names], 0.25)
    assert {names[i][0] for i in train}.isdisjoint(names[i][0] for i in held_out)
    assert len(held_out) == 6


def test_one_series_of_numbers_keeps_only_followers_together():
    numbers = [3, 4, 9, 20, 21, 22, 40, 55, 71]
    train, held_out = split_items([(f"road_{n:03d}", "", None) for n in numbers], 0.3)
    assert held_out
    assert len(train) + len(held_out) == len(numbers)
    assert not any(abs(numbers[i] - numbers[j]) == 1 for i in train for j in held_out)


def test_unbroken_series_is_split_like_a_volume():
    train, held_out = split_items([(f"frame{n}", "", None) for n in range(100)], 0.2)
    assert held_out == list(range(held_out[0], held_out[0] + 20))
    assert min(abs(i - j) for i in train for j in held_out) == 6


def test_concatenated_volumes_give_one_block_each(volume):
    path, image, labels = volume
    tifffile.imwrite(path.with_name("two_image.tif"), image)
    tifffile.imwrite(path.with_name("two_labels.tif"), labels)
    both = concatenate("both", [open_dataset(path), open_dataset(path.with_name("two_image.tif"))])
    _, held_out = both.split(0.25)
    assert sorted(i.group for i in held_out) == ["em"] * 3 + ["two"] * 3


def test_refusals_name_what_is_missing(folder, tmp_path):
    with pytest.raises(InputError, match="no data set at"):
        open_dataset(tmp_path / "nowhere")
    (folder / "labels" / "c_010.png").unlink()
    with pytest.raises(
        InputError, match=r"cells/images/c_010\.jpg has no labels; add labels/c_010\.png or leave it out"
    ):
        open_dataset(folder)
    with pytest.raises(InputError, match="images/ and labels/"):
        open_dataset(tmp_path)
    tifffile.imwrite(tmp_path / "alone_image.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match=r"alone_labels\.tif is missing"):
        open_dataset(tmp_path / "alone_image.tif")
    (tmp_path / "broken.zip").write_bytes(b"not a zip")
    with pytest.raises(InputError, match="readable zip"):
        open_dataset(tmp_path / "broken.zip")
    for share in (1.5, "half"):
        with pytest.raises(InputError, match="between 0 and 1"):
            split_items([], share)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"axis": "a"}, "axis must be a whole number of at least 0, got 'a'"),
        ({"axis": None}, "axis must be a whole number"),
        ({"axis": -1}, "axis must be a whole number of at least 0, got -1"),
        ({"axis": 3}, "axis 0, 1 or 2"),
        ({"ignore": "void"}, "ignore must be a label's whole number, or None for none, got 'void'"),
    ],
)
def test_options_of_a_volume_of_another_kind_are_refused(tmp_path, option, words):
    for name in ("em_image", "em_labels"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((2, 4, 4), np.uint16))
    with pytest.raises(InputError, match=words):
        open_dataset(tmp_path / "em_image.tif", **option)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("second", ["images/a_001.png", "labels/a_001.tif"])
def test_two_files_of_one_name_are_refused_and_both_named(folder, packed, second):
    (folder / second).write_bytes(b"another")
    first = {"images": r"images/a_001\.jpg", "labels": r"labels/a_001\.png"}[second[:6]]
    with pytest.raises(InputError, match=rf"{first} and .+{second} have one name"):
        open_dataset(zipped(folder) if packed else folder)


def test_a_zip_of_two_sets_with_equal_names_is_refused(folder):
    path = folder.with_name("two.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/images/0.png", "a/labels/0.png", "b/images/0.png", "b/labels/0.png"):
            archive.write(folder / "labels" / "a_001.png", name)
    with pytest.raises(
        InputError, match=r"two\.zip/a/images/0\.png and .+two\.zip/b/images/0\.png have one name"
    ):
        open_dataset(path)


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_in_folders_of_their_own_are_read(folder, packed):
    for part in ("images", "labels"):
        (folder / part / "s").mkdir()
        next((folder / part).glob("a_001.*")).rename(folder / part / "s" / "b_004.png")
    (folder / "index.csv").unlink()  # which would lie in images/, packed like this
    dataset = open_dataset(zipped(folder, "images/") if packed else folder)
    assert [item.name for item in dataset] == ["b_004", "c_010", "d_020", "e_033", "s/b_004"]
    assert dataset[4].ids(50) == [1, 300]


@pytest.mark.parametrize("packed", [False, True])
def test_what_a_system_puts_beside_pictures_is_none(folder, packed):
    (folder / "images" / ".ipynb_checkpoints").mkdir()
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a_001.jpg", ".ipynb_checkpoints/a_001.jpg"):
        (folder / "images" / name).write_bytes(b"no picture")
    assert len(open_dataset(zipped(folder) if packed else folder)) == 5


WIDE = {
    "uint32": (np.uint32, 3_000_000_000),
    "uint64": (np.uint64, 7 << 32),
    "float64": (np.float64, 3_000_000_000),
}


@pytest.mark.parametrize("components", [False, True])
@pytest.mark.parametrize("dtype", WIDE)
def test_ids_too_wide_for_int32_stay_apart(tmp_path, dtype, components):
    kind, offset = WIDE[dtype]
    labels = np.zeros((40, 40), kind)
    for i in range(13):
        labels[3 * i : 3 * i + 2] = offset + (i << 32 if dtype == "uint64" else i)
    labels[39] = 2  # fits, and stays
    _pair(tmp_path, np.zeros((40, 40), np.uint8), labels)
    item = open_dataset(tmp_path, components=components, min_area=1)[0]
    assert item.ids(1) == list(range(1, 15))
    assert all(len(np.unique(item.labels()[labels == value])) == 1 for value in np.unique(labels))
    assert (item.labels()[labels == 0] == 0).all()
    assert components or (item.labels()[39] == 2).all()


@pytest.mark.parametrize("components", [False, True])
@pytest.mark.parametrize("ignore", [1, 2**32 - 1])
def test_ignored_pixels_stay_ignored_beside_wide_ids(tmp_path, ignore, components):
    labels = np.zeros((40, 40), np.uint32)
    labels[:10], labels[20:30] = ignore, 4_000_000_000
    _pair(tmp_path, np.zeros((40, 40), np.uint8), labels)
    item = open_dataset(tmp_path, ignore=ignore, components=components)[0]
    assert len(item.ids(50)) == 1
    truth = item.truth(item.ids(50)[0])
    assert np.array_equal(truth == -1, labels == ignore)
    assert np.array_equal(truth == 1, labels == 4_000_000_000)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_body_with_a_wide_id_has_one_number_in_all_slices(volume, axis):
    path, _, labels = volume
    wide = labels.astype(np.uint32)
    wide[labels > 0] = 3_000_000_000
    wide[6:, 12:18, 2:12] = 2_999_999_999
    tifffile.imwrite(path.with_name("em_labels.tif"), wide)
    made = np.stack([item.labels() for item in open_dataset(path, axis=axis, components=False)], axis)
    assert {tuple(np.unique(made[wide == value])) for value in np.unique(wide)} == {(0,), (1,), (2,)}


@pytest.mark.parametrize("components", [False, True])
@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (1.5, r"1\.5")])
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path, value, shown, components):
    labels = np.ones((64, 64), np.float32)
    labels[5, 5] = value
    _pair(tmp_path, NOISE, labels)
    with pytest.raises(InputError, match=rf"labels/a\.tif hold {shown}, which is no whole number"):
        open_dataset(tmp_path, components=components)[0].labels()


def test_whole_numbers_as_floats_are_ids(tmp_path):
    _pair(tmp_path, NOISE, SQUARE.astype(np.float32) * 7)
    assert open_dataset(tmp_path)[0].ids(50) == [7]


def test_classes_too_wide_are_refused_not_renumbered(tmp_path):
    _pair(tmp_path, NOISE, np.full((64, 64), 3_000_000_000, np.uint32))
    with pytest.raises(InputError, match=r"labels/a\.tif hold the class 3000000000.+number them from 1"):
        open_dataset(tmp_path, kind="semantic")[0].labels()


def _pair(root, image, labels, **options):
    """A folder with one image, written as a TIFF file, and its labels."""
    for part, pixels in (("images", image), ("labels", labels)):
        (root / part).mkdir(parents=True)
        tifffile.imwrite(root / part / "a.tif", pixels, **(options if part == "images" else {}))
    return root / "images" / "a.tif"


NOISE = np.random.default_rng(2).integers(0, 255, (64, 64)).astype(np.uint8)
SQUARE = np.ones((64, 64), np.uint16)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_pixels_name_the_file(tmp_path, compression, packed):
    root = tmp_path / "set"
    file = _pair(root, NOISE, SQUARE, compression=compression)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + bytes(len(content) // 4))
    path = zipped(root) if packed else root
    with pytest.raises(InputError, match=rf"{path}/images/a\.tif could not be read as an image"):
        open_dataset(path)[0].image()


@pytest.mark.parametrize("file", ["images/a_001.jpg", "labels/a_001.png"])
def test_what_is_no_picture_is_refused_without_an_address(folder, file):
    (folder / file).write_bytes(b"no picture")
    with pytest.raises(
        InputError, match=f"{file} could not be read as an image .its format is not recognised"
    ):
        open_dataset(folder)[0].image()


def test_a_tiff_with_a_damaged_directory_is_no_picture_without_pixels(tmp_path):
    file = _pair(tmp_path / "set", NOISE, SQUARE)
    file.write_bytes(file.read_bytes()[:8])
    with pytest.raises(
        InputError, match=r"images/a\.tif could not be read as an image \(it holds no pixels\)"
    ):
        open_dataset(tmp_path / "set")[0].image()


def test_a_zip_with_a_wrong_checksum_names_the_entry(folder):
    path = zipped(folder)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("images/a_001.jpg")
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 200] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cells\.zip/images/a_001\.jpg could not be read as part of a zip"):
        open_dataset(path)[0].image()


@pytest.mark.parametrize("name", ["em_image.tif", "em_labels.tif"])
@pytest.mark.parametrize("axis", [0, 1])
def test_damaged_slices_name_the_file(volume, name, axis):
    file = volume[0].with_name(name)
    tifffile.imwrite(file, np.zeros((12, 20, 30), np.uint16), compression="zlib")
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[5]
        offset, size = page.dataoffsets[0], page.databytecounts[0]
    content = bytearray(file.read_bytes())
    content[offset : offset + size] = b"x" * size
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"{file} could not be read as a TIFF image"):
        open_dataset(volume[0], axis=axis)[5].image()  # asks for the shape of its labels too


@pytest.mark.parametrize(
    ("image", "labels", "words"),
    [
        (NOISE, SQUARE[:50], r"The image .+a\.tif has the shape \(64, 64\) but its labels have \(50, 64\)"),
        (np.stack([NOISE] * 5), SQUARE, r"a\.tif is a stack of shape \(5, 64, 64\)"),
        (NOISE, np.stack([SQUARE] * 3, -1), r"The labels of .+a\.tif have the shape \(64, 64, 3\)"),
    ],
)
def test_images_and_labels_of_different_shapes_are_refused(tmp_path, image, labels, words):
    _pair(tmp_path, image, labels)
    item = open_dataset(tmp_path)[0]
    with pytest.raises(InputError, match=words):
        item.image()


def test_labels_are_read_once_more_at_most_to_know_their_shape():
    reads = []

    def labels():
        reads.append(1)
        return SQUARE

    item = Item("a", "instances", lambda: NOISE, labels)
    item.labels()
    item.image()
    item.image()
    assert len(reads) == 1


def test_a_volume_and_labels_of_other_slices_are_refused(volume):
    tifffile.imwrite(volume[0], volume[1][:9])
    with pytest.raises(InputError, match=r"em_image\.tif has the shape \(9, 20, 30\)"):
        open_dataset(volume[0])


def test_later_sets_of_a_name_are_numbered(folder):
    dataset = open_dataset(folder)
    names = [replace(dataset, name=name) for name in ("a", "a-2", "a", "b", "a")]
    assert [d.name for d in unique_names(names)] == ["a", "a-2", "a-3", "b", "a-4"]


@pytest.mark.parametrize("share", [5.0, 0, 1, -0.1, "a", float("nan"), 0.99, 0.001])
def test_shares_that_leave_nothing_of_a_single_image_are_refused(share):
    pixels = np.zeros((10, 50), np.int32)
    dataset = Dataset("d", (Item("x", "instances", lambda: pixels, lambda: pixels),))
    with pytest.raises(InputError, match=r"lie between 0 and 1|50 columns cannot be cut at .* nearer 0\.5"):
        dataset.split(share)
    assert [part[0].labels().shape for part in dataset.split(0.5)] == [(10, 23), (10, 25)]


@pytest.mark.parametrize("path", [".", "images/..", "labels/../"])
def test_a_set_given_by_dots_has_the_name_of_its_folder(folder, monkeypatch, path):
    monkeypatch.chdir(folder)
    assert open_dataset(path).name == folder.name
