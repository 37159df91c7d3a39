"""What cannot be run is one clear sentence, and nothing is lost by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from run_fakes import CopyFirst, GreyPredictor, blobs, disk_full_once, files_of, sparse

from napari_iseg.errors import DamageError, InputError, SaveError
from napari_iseg.fewshot.decisions import Decisions
from napari_iseg.fewshot.kept_clicks import keep_clicks, kept_clicks
from napari_iseg.fewshot.propagate import propagate
from napari_iseg.fewshot.sizes import byte_count
from napari_iseg.images import PlaneSource
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Click, Window

VOLUME, TRUTH = blobs()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": np.zeros_like(TRUTH)}, "No slice or tile holds a label"),
        ({"labels": None}, "No slice or tile holds a label"),
        ({"labels": None, "clicks": {2: [(1, Click(3, 3, False))]}}, "only background clicks"),
        ({"labels": None, "clicks": {9: [(1, Click(3, 3))]}}, "plane 9, which does not exist"),
        ({"labels": None, "clicks": {2: [(1, Click(90, 3))]}}, "outside the plane"),
        ({"labels": None, "clicks": {2: [(2**31, Click(3, 3))]}}, "at most 2147483647, got 2147483648"),
        ({"labels": None, "clicks": {2: [(0, Click(3, 3))]}}, "at least 1 and .*, got 0"),
        ({"labels": TRUTH}, "annotated already"),
        ({"labels": sparse(TRUTH, 2), "planes": [2]}, "annotated already"),
        ({"labels": sparse(TRUTH, 2)[:3]}, "does not go with labels|do not fit"),
        ({"labels": TRUTH.astype(float)}, "whole numbers"),
        ({"labels": sparse(TRUTH, 2) * 2**30}, "hold the id 2147483648 .* up to 2147483647"),
        ({"volume": VOLUME[:1], "labels": TRUTH[:1]}, "annotated already"),
        ({"planes": [7]}, "does not exist"),
        ({"planes": []}, "No plane was chosen"),
        ({"tile": 4}, "at least 8 pixels"),
        ({"memory": "1 MB"}, "too small for tiles of 24 x 24"),
        ({"memory": "a lot"}, "not understood"),
        ({"out": "rest.tif"}, "must end in .zarr"),
        ({"existing": "guess"}, "existing must be one of"),
        ({"only": [9]}, "No annotated slice or tile holds the label 9"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"axis": 7}, "does not exist"),
        ({"scale": (1.0, 1.0)}, "scale has 2 entries"),
        ({"planes": 3}, "planes are numbers along the slicing axis, as .*, got 3"),
        ({"planes": "1:3"}, "planes are numbers .*, got '1:3'"),
        ({"planes": [1.5]}, "planes are numbers"),
        ({"supports": 2}, "supports are numbers"),
        ({"only": 14}, r"only is a list of labels, as \[1, 2\], got 14"),
        ({"only": "14"}, "only is a list of labels"),
        ({"region": (0, 0, 9, 9)}, r"region is a Window\(top, left, bottom, right\)"),
        ({"axes": "zzz"}, "Every axis needs a name of its own, as .*, got 'zzz'"),
        ({"axes": 3}, "axes are names"),
        ({"only": []}, "only needs at least one label"),
        ({"threads": -1}, "threads is a whole number, 0 for .*, got -1"),
        ({"batch": "a"}, "batch is a whole number, at least 1, got 'a'"),
        ({"batch": 0}, "batch is a whole number, at least 1, got 0"),
        ({"listener": 5}, "listener is a function"),
        ({"control": 5}, "control is a Control"),
        ({"tile": "a"}, "tile is a whole number of pixels, got 'a'"),
        ({"halo": 1.5}, "halo is a whole number of pixels"),
        ({"axis": 1.5}, "axis is the number or the name of the slicing axis, got 1.5"),
        ({"clicks": [1]}, "clicks are pairs of a label and a Click per plane"),
        ({"clicks": {0: [Click(3, 3)]}}, "clicks are pairs"),
        ({"clicks": {0: 5}}, "clicks are pairs"),
        ({"clicks": {"a": [(1, Click(3, 3))]}}, "clicks are pairs"),
        ({"workers": 1.5}, r"workers is a number of processes, or a list .*, got 1\.5"),
        ({"workers": None}, "workers is a number"),
        ({"workers": "cpu"}, "workers is a number .*, got 'cpu'"),
        ({"workers": []}, "workers needs at least one device"),
        ({"scheduler": 5}, "scheduler is the address of a Dask scheduler"),
        ({"complete": "x"}, "complete is True, False or Areas of polygons, got 'x'"),
        ({"sequential": "x"}, "sequential is True or False, got 'x'"),
        ({"probability": 1}, "probability is True or False, got 1"),
        ({"volume": None}, "The image holds object values, no numbers"),
        ({"labels": [[1], [2, 3]]}, "The labels are no array"),
        ({"bands": [9]}, r"Give channel_axis to choose bands of an image of shape \(5, 24, 24\)"),
        ({"channel_axis": "a"}, "channel_axis must be given by number"),
        ({"channel_axis": 7}, "channel_axis 7 does not exist in an image of 3 axes"),
        ({"volume": PlaneSource.wrap(VOLUME), "bands": [0]}, "has its channels already; give bands to"),
    ],
)
def test_refusals(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"volume": VOLUME, "labels": sparse(TRUTH, 2), "out": "rest.zarr"} | change
    given["out"] = tmp_path / given["out"]
    with pytest.raises(InputError, match=sentence) as refused:
        propagate(model=GreyPredictor(), **given)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir()), "a refusal leaves nothing behind"


@pytest.mark.parametrize("given", ["store", "array"])
@pytest.mark.parametrize("planes", [None, [0, 1]])
def test_labels_that_are_damaged_are_named(tmp_path: Path, given: str, planes: list[int] | None) -> None:
    path = tmp_path / "l.zarr"
    store = LabelStore(VOLUME.shape, path=path)
    store.put((2,), Window(0, 0, *VOLUME.shape[1:]), TRUTH[2].astype(np.uint32))
    store.flush()
    file = path / "0/c/2/0/0"
    file.write_bytes(file.read_bytes()[:-4])
    labels = LabelStore.open(path) if given == "store" else zarr.open_array(path / "0", mode="r")
    with pytest.raises(DamageError, match=r"l\.zarr(/0)? could not be read as labels \(.*undamaged copy"):
        propagate(VOLUME, labels, tmp_path / "o.zarr", GreyPredictor(), planes=planes)
    assert [entry.name for entry in tmp_path.iterdir()] == ["l.zarr"]


def test_copying_masks_within_a_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="annotated"):
        propagate(VOLUME[0], TRUTH[0], tmp_path / "rest.zarr", CopyFirst())


def test_sequential_scene(tmp_path: Path) -> None:
    labels = TRUTH[0].copy()
    labels[:, 12:] = 0
    with pytest.raises(InputError, match="no neighbouring slices"):
        propagate(VOLUME[0], labels, tmp_path / "a.zarr", GreyPredictor(), sequential=True)


def fails(_: object) -> None:
    raise RuntimeError("of the listener")


def test_a_run_that_found_nothing_can_be_started_again(tmp_path: Path) -> None:
    out = tmp_path / "rest.zarr"
    with pytest.raises(RuntimeError, match="of the listener"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), listener=fails)
    assert not list(tmp_path.iterdir())
    propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor())
    before = files_of(out)
    with pytest.raises(RuntimeError, match="of the listener"):
        propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor(), existing="resume", listener=fails)
    assert files_of(out) == before, "what was there stays"


def test_what_a_run_has_found_stays_when_it_ends(tmp_path: Path) -> None:
    def fails_at_the_second(entry: Any) -> None:
        if getattr(entry, "done", 0) == 2:
            fails(entry)

    out = tmp_path / "rest.zarr"
    with pytest.raises(RuntimeError, match="of the listener"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), listener=fails_at_the_second)
    assert propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="resume").kept == 2


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    numbers = {"tile": np.int64(16), "halo": np.int32(2), "batch": np.int8(2), "workers": np.int64(1)}
    flags = {"probability": np.True_, "complete": np.True_}
    propagate(VOLUME, sparse(TRUTH, 2), tmp_path / "rest.zarr", GreyPredictor(), **numbers, **flags)


def test_an_output_that_exists_is_never_guessed_about(tmp_path: Path) -> None:
    out = tmp_path / "rest.zarr"
    LabelStore(TRUTH.shape, path=out)
    with pytest.raises(InputError, match="say whether to resume it or to overwrite it"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor())
    with pytest.raises(InputError, match="cannot be resumed"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="resume")
    foreign = tmp_path / "photos.zarr"
    foreign.mkdir()
    (foreign / "holiday.jpg").touch()
    with pytest.raises(InputError, match="holds no labels"):
        propagate(VOLUME, sparse(TRUTH, 2), foreign, GreyPredictor(), existing="overwrite")
    assert (foreign / "holiday.jpg").exists()


def test_the_annotations_are_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "labels.zarr"
    store = LabelStore(TRUTH.shape, path=path)
    store.levels[0][2] = TRUTH[2]
    with pytest.raises(InputError, match="holds the annotations themselves"):
        propagate(VOLUME, path, path, GreyPredictor(), existing="overwrite")
    assert np.array_equal(store.levels[0][2], TRUTH[2])


def test_other_settings_cannot_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor())
    with pytest.raises(InputError, match=r"other settings \(halo, tile\)"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), tile=16, halo=2, existing="resume")
    assert np.array_equal(LabelStore.open(out).levels[0][...], TRUTH)


def test_an_output_deleted_by_hand_is_made_anew_and_the_users_clicks_stay(tmp_path: Path) -> None:
    out, run = tmp_path / "rest.zarr", tmp_path / "rest.zarr.run"
    propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor())
    keep_clicks(run, {(1,): [(1, Click(3, 3))]})
    Decisions(run).accept((3,))
    shutil.rmtree(out)
    before = files_of(run)
    with pytest.raises(InputError, match="No slice or tile holds a label"):
        propagate(VOLUME, np.zeros_like(TRUTH), out, GreyPredictor())
    assert files_of(run) == before, "a refusal leaves everything as it was"
    report = propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="resume")
    assert report.computed == 5
    assert np.array_equal(LabelStore.open(out).levels[0][...], TRUTH)
    assert kept_clicks(run) == {(1,): [(1, Click(3, 3))]}
    assert not Decisions(run).accepted, "the mask that was accepted is gone"


def test_overwriting_takes_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor())
    shutil.copytree(out, tmp_path / "rest.zarr.old")
    shutil.copytree(tmp_path / "rest.zarr.run", tmp_path / "rest.zarr.run.old")
    (tmp_path / "rest.zarr.run" / "notes.txt").write_text("z 3 is odd")
    before = {path: files_of(path) for path in tmp_path.glob("*.old")}
    propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="overwrite")
    assert {path: files_of(path) for path in tmp_path.glob("*.old")} == before
    assert len(before) == 2
    assert (tmp_path / "rest.zarr.run" / "notes.txt").exists()
    assert not list(tmp_path.rglob(".*.old"))


def test_what_cannot_be_moved_away_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "rest.zarr"
    propagate(VOLUME, sparse(TRUTH, 1), out, GreyPredictor())
    before, rename = files_of(tmp_path), Path.rename

    def busy(path: Path, target: Path) -> Path:
        if path.name == "drafts":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(
        SaveError, match=r"could not be replaced \(Permission denied\); close what has it open"
    ):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="overwrite")
    assert files_of(tmp_path) == before


def test_full_disk_in_mid_run_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "rest.zarr"
    disk_full_once(monkeypatch)
    with pytest.raises(SaveError, match="No space left on device"):
        propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor())
    report = propagate(VOLUME, sparse(TRUTH, 2), out, GreyPredictor(), existing="resume")
    assert report.kept == 2
    assert np.array_equal(LabelStore.open(out).levels[0][...], TRUTH)


def test_a_target_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="does not exist"):
        propagate(VOLUME, sparse(TRUTH, 2), tmp_path / "no" / "rest.zarr", GreyPredictor())


def test_a_read_only_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_iseg.files.os.access", lambda *_: False)
    with pytest.raises(SaveError, match="cannot be written to"):
        propagate(VOLUME, sparse(TRUTH, 2), tmp_path / "rest.zarr", GreyPredictor())


def test_labels_changed_in_mid_run_do_not_change_the_run(tmp_path: Path) -> None:
    labels = sparse(TRUTH, 2)

    def remove(_: object) -> None:
        labels[...] = 0

    propagate(VOLUME, labels, tmp_path / "rest.zarr", GreyPredictor(), listener=remove)
    assert np.array_equal(LabelStore.open(tmp_path / "rest.zarr").levels[0][...], TRUTH)


@pytest.mark.parametrize("spoil", [lambda v: v.fill(0.5), lambda v: v.fill(np.nan), lambda v: v.fill(np.inf)])
def test_constant_and_broken_slices_are_background(tmp_path: Path, spoil: Callable[[Any], None]) -> None:
    volume = VOLUME.astype(np.float32)
    spoil(volume[4])
    propagate(volume, sparse(TRUTH, 2), tmp_path / "rest.zarr", GreyPredictor())
    found = LabelStore.open(tmp_path / "rest.zarr").levels[0][...]
    assert np.array_equal(found[:4], TRUTH[:4])
    assert not found[4].any()


def test_tile_larger_than_the_image_is_one_piece(tmp_path: Path) -> None:
    report = propagate(VOLUME, sparse(TRUTH, 2), tmp_path / "rest.zarr", GreyPredictor(), tile=4096)
    assert report.units == 5


def test_sizes() -> None:
    assert byte_count("2 GB") == 2 * 10**9
    assert byte_count("1.5GiB") == 3 * 2**29
    assert byte_count(1000) == 1000
