"""LabelStore: windows in, windows out, in any size, and nothing of another object is lost."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_iseg.errors import DamageError, InputError, SaveError
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.layout import keeping_files, written_boxes
from napari_iseg.labels.regions import Region, tiles_of
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click, Prompts, Window

SQUARE = np.ones((10, 10), bool)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("shape", [(64, 80), (3, 64, 80), (2, 3, 1300, 700)])
def test_what_is_written_is_read_in_all_levels(tmp_path, shape, on_disk):
    store = LabelStore(shape, path=tmp_path / "l.zarr" if on_disk else None)
    plane, window = (1,) * (len(shape) - 2), Window(21, 33, 31, 43)
    mask = np.random.default_rng(0).random((10, 10)) > 0.5
    assert store.write(7, plane, window, mask) == 0
    truth = np.zeros(shape, np.uint32)
    truth[plane][window.slices][mask] = 7
    for level, array in enumerate(store.levels):
        np.testing.assert_array_equal(array[:], truth[..., :: 2**level, :: 2**level])
    np.testing.assert_array_equal(store.read(plane, Window(20, 30, 40, 50)), truth[plane][20:40, 30:50])
    assert max(store.levels[-1].shape[-2:]) <= 512


def test_earlier_objects_keep_their_pixels_unless_told(tmp_path):
    store = LabelStore((40, 40))
    store.write(1, (), Window(0, 0, 10, 10), SQUARE)
    assert store.write(2, (), Window(5, 5, 15, 15), SQUARE) == 25
    assert (store.read()[5:10, 5:10] == 1).all()
    assert store.write(2, (), Window(5, 5, 15, 15), SQUARE, overwrite=True) == 25
    assert (store.read()[5:15, 5:15] == 2).all()
    assert (store.read() == 1).sum() == 75


def test_erase_looks_only_where_the_object_was_written():
    store = LabelStore((3, 600, 600))
    store.write(1, (0,), Window(0, 0, 10, 10), SQUARE)
    store.write(1, (2,), Window(500, 500, 510, 510), SQUARE)
    store.write(2, (0,), Window(5, 5, 15, 15), SQUARE)
    read, seen = store.read, []
    store.read = lambda plane, window: seen.append((plane, window)) or read(plane, window)
    assert store.erase(1) == 200
    del store.read
    assert seen == [((0,), Window(0, 0, 10, 10)), ((2,), Window(500, 500, 510, 510))]
    assert (store.read((0,)) == 2).sum() == 75
    assert not store.read((2,)).any()
    assert not store.levels[-1][2].any()
    assert store.erase(1) == 0


def test_a_chunk_whose_labels_all_go_keeps_its_file_and_no_other_gets_one(tmp_path):
    store = LabelStore((90, 90), path=tmp_path / "l.zarr", chunks=30)
    store.write(1, (), Window(5, 5, 15, 35), np.ones((10, 30), bool))
    store.put((), Window(0, 0, 90, 90), np.zeros((90, 90), np.uint32))
    folder = tmp_path / "l.zarr" / "0" / "c"
    assert sorted(file.relative_to(folder).parts for file in folder.rglob("*") if file.is_file()) == [
        ("0", "0"),
        ("0", "1"),
    ]
    assert not store.read().any()
    assert LabelStore.open(tmp_path / "l.zarr").labels == ()


def test_labels_are_never_given_twice(tmp_path):
    store = LabelStore((40, 40), path=tmp_path / "l.zarr")
    store.write(5, (), Window(0, 0, 10, 10), SQUARE)
    assert store.next_label() == 6
    store.erase(5)
    assert store.next_label() == 6
    store.flush()
    assert LabelStore.open(tmp_path / "l.zarr").next_label() == 6


def test_prompts_are_kept_with_the_object():
    store = LabelStore((40, 40))
    prompts = Prompts((Click(3, 4), Click(20, 20, False)))
    store.write(1, (), Window(0, 0, 10, 10), SQUARE, prompts=prompts)
    assert store.prompts_of(1) == (prompts,)
    assert store.prompts_of(2) == ()


@pytest.mark.parametrize("chunks", [30, 100])  # also one that is larger than its part of the labels
def test_a_search_reads_no_chunk_whose_labels_all_went(tmp_path, monkeypatch, chunks):
    store = LabelStore((2, 140, 140), path=tmp_path / "l.zarr", chunks=chunks)
    for label, row in ((1, 0), (2, 110)):
        store.write(label, (1,), Window(row, row, row + 10, row + 10), SQUARE)
    store.erase(1)
    read, block = [], LabelStore.block
    monkeypatch.setattr(LabelStore, "block", lambda self, box: read.append(box[1].start) or block(self, box))
    assert LabelStore.open(tmp_path / "l.zarr").labels == (2,)
    assert read == [90 if chunks == 30 else 100]


@pytest.mark.parametrize("shape", [(0, 8), (8, 8)])
@pytest.mark.parametrize("dtype", ["bool", "float32", "uint8"])
def test_arrays_of_any_kind_say_where_they_were_written(tmp_path, shape, dtype):
    array = zarr.create_array(tmp_path / "a.zarr", shape=shape, dtype=dtype, chunks=(4, 4))
    array[0:4, 0:4] = np.ones((min(shape[0], 4), 4), dtype)
    keeping_files(array)[4:8, 4:8] = np.zeros((max(shape[0] - 4, 0), 4), dtype)
    assert written_boxes(array) == [(slice(0, 4), slice(0, 4))][: shape[0]]


def test_a_store_opened_from_disk_finds_its_objects(tmp_path):
    store = LabelStore((2, 700, 700), path=tmp_path / "l.zarr")
    store.write(3, (1,), Window(507, 100, 517, 110), SQUARE)
    again = LabelStore.open(tmp_path / "l.zarr")
    assert again.labels == (3,)
    assert again.next_label() == 4
    assert again.erase(3) == 100
    assert not zarr.open_array(tmp_path / "l.zarr" / "0")[:].any()


V2_KEYS = {"name": "v2", "separator": "."}
NESTED_KEYS = {"name": "v2", "separator": "/"}


@pytest.mark.parametrize(
    ("level", "options"),
    [
        ("s0", {}),
        ("0", {"shards": (2, 128, 128)}),
        ("0", {"chunk_key_encoding": V2_KEYS}),
        ("scale/full", {"chunk_key_encoding": NESTED_KEYS}),
        ("0", {"fill_value": 9}),
    ],
)
def test_a_store_of_another_program_shows_all_its_objects(tmp_path, monkeypatch, level, options):
    path = tmp_path / "foreign.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    array = group.create_array(
        level, shape=(3, 200, 200), dtype="uint32", chunks=(2, 64, 64), **{"fill_value": 0, **options}
    )
    array[0, 10:20, 10:20] = 7
    array[2, 150:160, 190:200] = 9
    LabelStore((3, 200, 200), path=tmp_path / "own.zarr")
    stated = dict(zarr.open_group(tmp_path / "own.zarr").attrs)["ome"]
    stated["multiscales"][0]["datasets"][0]["path"] = level
    group.attrs["ome"] = stated

    store = LabelStore.open(path)
    assert store.labels == (7, 9)
    assert store.next_label() == 10
    exported = LabelStore.open(export_labels(store, tmp_path / "copy.zarr"))
    np.testing.assert_array_equal(exported.levels[0][:], array[:])

    synced = []
    monkeypatch.setattr("napari_iseg.labels.layout.sync", lambda file: synced.append(file.is_file()))
    store.write(10, (1,), Window(60, 60, 70, 70), SQUARE, overwrite=True)
    store.flush()
    assert synced
    assert all(synced)
    store.place(scale=(2, 1, 1))
    assert LabelStore.open(path).labels == (7, 9, 10)


def test_a_chunk_that_cannot_be_read_is_never_taken_for_an_empty_one(tmp_path):
    LabelStore((64, 64), path=tmp_path / "l.zarr").write(3, (), Window(0, 0, 10, 10), SQUARE)
    (tmp_path / "l.zarr" / "0" / "c" / "0" / "0").write_bytes(b"damaged")
    store = LabelStore.open(tmp_path / "l.zarr")
    for _ in range(2):
        with pytest.raises(DamageError, match=r"^\S+l\.zarr could not be read as labels .*decompression"):
            store.next_label()


def test_damage_is_told_wherever_labels_are_read(tmp_path):
    store = LabelStore((3, 64, 64), path=tmp_path / "l.zarr")
    store.write(3, (1,), Window(0, 0, 10, 10), SQUARE)
    file = tmp_path / "l.zarr/0/c/1/0/0"
    file.write_bytes(file.read_bytes()[:-4])
    store.image_axes = (1, 0, 2)
    for act in (
        lambda: store.read((1,)),
        lambda: store.write(4, (1,), Window(0, 0, 10, 10), SQUARE),
        lambda: store.put((1,), Window(0, 0, 10, 10), SQUARE.astype(np.uint32)),
        lambda: store.erase(3),
        lambda: export_labels(store, tmp_path / "o.tif"),
        lambda: export_labels(store, tmp_path / "o.zarr"),
        lambda: export_labels(LabelStore.open(tmp_path / "l.zarr"), tmp_path / "o.zarr"),
    ):
        with pytest.raises(DamageError, match=r"^\S+l\.zarr could not be read as labels"):
            act()
    assert [path.name for path in tmp_path.iterdir()] == ["l.zarr"]
    with pytest.raises(InputError, match="values have the shape"):
        store.put((0,), Window(0, 0, 9, 10), SQUARE.astype(np.uint32))
    assert not store.read((0,)).any()


def test_a_store_is_made_where_a_link_to_nothing_points(tmp_path):
    (tmp_path / "l.zarr").symlink_to(tmp_path / "real.zarr")
    LabelStore((64, 64), path=tmp_path / "l.zarr").write(3, (), Window(0, 0, 10, 10), SQUARE)
    assert (tmp_path / "l.zarr").is_symlink()
    assert LabelStore.open(tmp_path / "real.zarr").labels == (3,)


def test_an_opened_store_erases_all_of_an_object_that_was_added_to(tmp_path):
    LabelStore((64, 64), path=tmp_path / "l.zarr").write(3, (), Window(0, 0, 10, 10), SQUARE)
    again = LabelStore.open(tmp_path / "l.zarr")
    again.write(3, (), Window(30, 30, 40, 40), SQUARE)
    assert again.erase(3) == 200
    assert not again.read().any()


def test_metadata_is_valid_ome_zarr(tmp_path):
    models = pytest.importorskip("ome_zarr_models.v05.image")
    store = LabelStore(
        (2, 1200, 600),
        path=tmp_path / "l.zarr",
        scale=(2, 0.5, 0.5),
        translate=(0, 10, 20),
        axes=("z", "y", "x"),
        units=("um", "µm", "micrometer"),
    )
    image = models.Image.from_zarr(zarr.open_group(tmp_path / "l.zarr", mode="r"))
    multiscale = image.ome_attributes.multiscales[0]
    assert [(axis.name, axis.unit) for axis in multiscale.axes] == [(name, "micrometer") for name in "zyx"]
    scale, shift = multiscale.datasets[1].coordinateTransformations
    assert list(scale.scale) == [2, 1, 1]
    assert list(shift.translation) == [0, 10.25, 20.25]  # centre of the 2 x 2 block
    assert LabelStore.open(tmp_path / "l.zarr").space == store.space


def test_ome_zarr_reads_the_store(tmp_path):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    store = LabelStore((2, 1200, 600), path=tmp_path / "l.zarr")
    store.write(9, (1,), Window(100, 100, 110, 110), SQUARE)
    node = next(iter(Reader(parse_url(tmp_path / "l.zarr"))()))
    assert [level.shape for level in node.data] == [(2, 1200, 600), (2, 600, 300), (2, 300, 150)]
    assert int((np.asarray(node.data[0]) == 9).sum()) == 100


@pytest.mark.parametrize(
    ("axes", "ndim"),
    [(("-3", "-2", "-1"), 3), (("y", "x", "z"), 3), (("x", "x"), 2), (("z", "t", "y", "x"), 4)],
)
def test_axis_names_that_ome_zarr_forbids_are_replaced(tmp_path, axes, ndim):
    models = pytest.importorskip("ome_zarr_models.v05.image")
    LabelStore((4,) * ndim, path=tmp_path / "l.zarr", axes=axes)
    models.Image.from_zarr(zarr.open_group(tmp_path / "l.zarr", mode="r"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.write(0, (), Window(0, 0, 10, 10), SQUARE), "whole number from 1"),
        (lambda s: s.write(2**32, (), Window(0, 0, 10, 10), SQUARE), "whole number from 1"),
        (lambda s: s.write(1, (0,), Window(0, 0, 10, 10), SQUARE), "plane"),
        (lambda s: s.write(1, (), Window(35, 0, 45, 10), SQUARE), "not inside"),
        (lambda s: s.write(1, (), Window(0, 0, 5, 10), SQUARE), "shape"),
        (lambda s: LabelStore((0, 5)), "larger than 0"),
        (lambda s: LabelStore((5, 5), scale=(1, 2, 3)), "scale has 3 entries"),
        (lambda s: LabelStore((5, 5), scale=(0, 1)), "positive"),
    ],
)
def test_refusals_name_what_is_wrong(call, words):
    with pytest.raises(InputError, match=words):
        call(LabelStore((40, 40)))


def test_foreign_and_existing_folders_are_refused(tmp_path):
    zarr.save_array(tmp_path / "a.zarr", np.ones((4, 4)))
    with pytest.raises(InputError, match="not an OME-Zarr"):
        LabelStore.open(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"LabelStore\.open"):
        LabelStore((4, 4), path=tmp_path / "a.zarr")


def test_a_full_disk_is_a_save_error_and_repeating_completes_it(tmp_path, monkeypatch):
    from zarr.storage import _local

    store = LabelStore((40, 40), path=tmp_path / "l.zarr")
    store.write(1, (), Window(0, 0, 10, 10), SQUARE)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_local, "_put", full)
    with pytest.raises(SaveError, match="No space left"):
        store.write(2, (), Window(20, 20, 30, 30), SQUARE)
    monkeypatch.undo()
    again = LabelStore.open(tmp_path / "l.zarr")
    assert (again.read() == 1).sum() == 100
    again.write(2, (), Window(20, 20, 30, 30), SQUARE)
    assert (again.read() == 2).sum() == 100


@pytest.mark.parametrize("on_disk", [False, True])
def test_memory_does_not_grow_with_the_plane(tmp_path, on_disk):
    tracemalloc.start()
    store = LabelStore((30_000, 30_000), path=tmp_path / "l.zarr" if on_disk else None)
    store.write(1, (), Window(14_000, 14_000, 17_000, 17_000), np.ones((3000, 3000), bool))
    store.write(2, (), Window(29_990, 29_990, 30_000, 30_000), SQUARE)
    assert store.erase(1) == 9_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert store.read((), Window(29_980, 29_980, 30_000, 30_000)).sum() == 200


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_regions_pack_unpack_and_subtract_exactly(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    window = Window(*(data.draw(st.integers(0, 40)) for _ in range(2)), 0, 0)
    window = Window(window.top, window.left, window.top + 30, window.left + 50)
    masks = [rng.random((30, 50)) > data.draw(st.sampled_from([0.0, 0.5, 0.99, 1.0])) for _ in range(2)]
    first, second = (
        Region.pack(
            (w, m[w.top - window.top : w.bottom - window.top, w.left - window.left : w.right - window.left])
            for w in tiles_of(window, 16)
        )
        for m in masks
    )
    for region, mask in ((first, masks[0]), (first.without(second), masks[0] & ~masks[1])):
        plane = np.zeros((80, 100), bool)
        for part, bits in Region.from_record(region.to_record()).masks():
            plane[part.slices] |= bits
        assert plane.sum() == mask.sum() == region.pixels
        np.testing.assert_array_equal(plane[window.slices], mask)


def test_labels_can_be_placed_anew(tmp_path):
    store = LabelStore((3, 40, 50), path=tmp_path / "l.zarr", scale=(2, 1, 1), name="cells")
    store.write(4, (1,), Window(2, 3, 6, 8), np.ones((4, 5), bool))
    store.place(scale=(5, 0.25, 0.25), translate=(0, 10, 20), units=("um", "um", "um"))
    opened = LabelStore.open(tmp_path / "l.zarr")
    for labels in (store, opened):
        assert labels.space.scale == (5, 0.25, 0.25)
        assert labels.space.translate == (0, 10, 20)
        assert labels.space.units == ("micrometer",) * 3
        assert labels.space.axes == ("z", "y", "x")
        assert (labels.read((1,)) == 4).sum() == 20
    attributes = json.loads((tmp_path / "l.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes["ome"]["multiscales"][0]["name"] == "cells"
    with pytest.raises(InputError, match="positive"):
        store.place(scale=(1, 0, 1))
    assert store.space == opened.space


def test_placing_labels_of_another_program_leaves_all_else_they_say(tmp_path):
    LabelStore((40, 50), path=tmp_path / "l.zarr", scale=(0.5, 0.5), translate=(3, 4), units=("um",) * 2)
    group = zarr.open_group(tmp_path / "l.zarr")
    stated = group.attrs["ome"]
    stated["multiscales"][0] |= {
        "coordinateTransformations": [{"type": "scale", "scale": [2.0, 2.0]}],
        "metadata": {"method": "theirs"},
    }
    stated["multiscales"][0]["axes"][0]["note"] = "theirs"
    stated["image-label"] |= {
        "colors": [{"label-value": 7, "rgba": [255, 0, 0, 255]}],
        "source": {"image": "../../"},
    }
    stated["theirs"] = 1
    group.attrs["ome"] = stated
    store = LabelStore.open(tmp_path / "l.zarr")
    assert (store.space.scale, store.space.translate) == ((1, 1), (6, 8))
    store.place(scale=(3, 4), units=("nm", None))
    found = zarr.open_group(tmp_path / "l.zarr").attrs["ome"]
    assert (found["image-label"], found["theirs"]) == (stated["image-label"], 1)
    multiscale = found["multiscales"][0]
    assert multiscale["metadata"] == {"method": "theirs"}
    assert multiscale["axes"] == [
        {"name": "y", "type": "space", "note": "theirs", "unit": "nanometer"},
        {"name": "x", "type": "space"},
    ]
    assert LabelStore.open(tmp_path / "l.zarr").space == store.space


def test_a_full_disk_leaves_the_old_place(tmp_path, monkeypatch):
    store = LabelStore((40, 50), path=tmp_path / "l.zarr")
    before = store.space

    def full(*_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_iseg.labels.store.restate", full)
    with pytest.raises(SaveError, match="No space left"):
        store.place(scale=(0.5, 0.5))
    assert store.space == before


@pytest.mark.parametrize("numbers", [(np.nan, 1), (np.inf, 1), ("a", 1), (None, 1)])
@pytest.mark.parametrize("name", ["scale", "translate"])
def test_places_are_finite_numbers(name, numbers):
    with pytest.raises(InputError, match=f"{name} must be finite numbers, one per axis"):
        LabelStore((8, 8), **{name: numbers})
