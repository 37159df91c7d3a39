"""``napari-iseg propagate`` as typed at a prompt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_iseg.labels.store import LabelStore

sys.path.insert(0, str(Path(__file__).parents[1] / "fewshot"))

from run_fakes import GreyPredictor, blobs, sparse


@pytest.fixture
def grey(monkeypatch: pytest.MonkeyPatch) -> GreyPredictor:
    """Every few-shot model is the fake one."""
    fake = GreyPredictor()
    monkeypatch.setattr("napari_iseg.fewshot.predictors._load", lambda *_: fake)
    return fake


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    volume, truth = blobs()
    metadata = {"axes": "ZYX", "spacing": 4.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "stack.tif", volume, imagej=True, resolution=(2, 2), metadata=metadata)
    tifffile.imwrite(tmp_path / "some.tif", sparse(truth, 2).astype(np.uint16))
    return tmp_path / "stack.tif", tmp_path / "some.tif", tmp_path / "rest.zarr"


def test_bands_are_chosen(run: Callable[..., Any], grey: GreyPredictor, tmp_path: Path) -> None:
    volume, truth = blobs()
    noise = np.random.default_rng(0).integers(0, 255, volume.shape).astype(volume.dtype)
    tifffile.imwrite(
        tmp_path / "stack.tif",
        np.stack([noise, volume, noise[::-1], noise, noise], 1),
        metadata={"axes": "ZCYX"},
        ome=True,
        photometric="minisblack",
    )
    tifffile.imwrite(tmp_path / "some.tif", sparse(truth, 2).astype(np.uint16))
    files = (tmp_path / "stack.tif", tmp_path / "some.tif", tmp_path / "rest.zarr")
    ended = run("propagate", *files, "--bands", "2", "--json")
    assert ended.code == 0, ended.err
    assert np.array_equal(LabelStore.open(files[2]).levels[0][...], truth)
    ended = run("propagate", *files, "--bands", "6", "--overwrite")
    assert ended.code == 2
    assert "has 5 band(s); give one to three, counted from 1" in ended.err


def test_three_files_make_all(run: Callable[..., Any], grey: GreyPredictor, files: tuple[Path, ...]) -> None:
    ended = run("propagate", *files, "--json", "--objects", "3")
    assert ended.code == 0, ended.err
    assert ended.json["units"] == 5
    assert ended.json["labels"] == [1, 2]
    assert ended.json["objects"]["count"] == 2
    made = LabelStore.open(files[2])
    assert np.array_equal(made.levels[0][...], blobs()[1])
    assert made.space.scale == (4.0, 0.5, 0.5)
    assert [p[0] for p in grey.calls] == [4.0, 12.0, 0.0, 16.0]
    assert LabelStore.open(files[2].with_name("rest_objects.zarr")).labels == (1, 2)


def test_an_output_that_exists_is_asked_about(
    run: Callable[..., Any], grey: GreyPredictor, files: tuple[Path, ...]
) -> None:
    assert run("propagate", *files).code == 0
    asked = run("propagate", *files)
    assert asked.code == 2
    assert "rest.zarr exists already; give --resume or --overwrite" in asked.err
    assert run("propagate", *files, "--resume", "--json").json["computed"] == 0
    assert run("propagate", *files, "--overwrite", "--json").json["computed"] == 5


def test_the_annotations_are_no_output(
    run: Callable[..., Any], grey: GreyPredictor, files: tuple[Path, ...]
) -> None:
    assert run("propagate", *files).code == 0
    refused = run("propagate", files[0], files[2], files[2])
    assert "holds the annotations themselves" in refused.err


def test_the_tile_of_a_scene_to_annotate_next_has_a_row_and_a_column(
    run: Callable[..., Any], grey: GreyPredictor, tmp_path: Path
) -> None:
    volume, truth = blobs(depth=1)
    scene, labels = np.tile(volume[0], (2, 4)), np.tile(truth[0], (2, 4)).astype(np.uint16)
    scene[:24, 72:] //= 2  # far from every label's grey
    labels[:, 24:] = 0
    tifffile.imwrite(tmp_path / "scene.tif", scene)
    tifffile.imwrite(tmp_path / "some.tif", labels)
    ended = run(
        "propagate",
        *(tmp_path / name for name in ("scene.tif", "some.tif", "rest.zarr")),
        "--partial",
        "--tile",
        "24",
        "--halo",
        "0",
    )
    assert ended.code == 0, ended.err
    assert "annotate next: the tile at row 0, column 72 (many pixels are undecided)" in ended.out


def test_some_slices_along_another_axis(
    run: Callable[..., Any], grey: GreyPredictor, files: tuple[Path, ...]
) -> None:
    ended = run("propagate", *files, "--axis", "y", "--planes", "6:8", "--partial", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["units"] == 2


def test_a_failed_unit_is_exit_code_3_and_named(
    run: Callable[..., Any], grey: GreyPredictor, files: tuple[Path, ...]
) -> None:
    grey.fail_at = (16.0,)
    ended = run("propagate", *files, "--json")
    assert ended.code == 3
    assert "plane 4" in ended.err
    assert ended.json["failed"] == [{"where": "plane 4", "reason": "RuntimeError: the network has a bad day"}]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--planes", "a:b"), "--planes 'a:b' is not understood"),
        (("--planes", "²:3"), "--planes '²:3' is not understood"),
        (("--only", "inf"), "--only 'inf' needs whole numbers"),
        (("--workers", "²"), "--workers '²' is not understood"),
        (("--workers", "-1"), "--workers '-1' is not understood"),
        (("--planes", "9"), "plane 9 does not exist"),
        (("--resume", "--overwrite"), "not both"),
        (("--axis", "w"), "no axis 'w'"),
        (("--memory", "much"), "--memory 'much' is not understood; write it like '2 GB'"),
        (("--features", "foo"), "--features 'foo' is not understood; write it like '2 GB'"),
        (("--halo", "300"), "at most a third"),
        (("--only", "7"), "holds the label 7"),
    ],
)
def test_bad_options_are_one_sentence(
    run: Callable[..., Any],
    grey: GreyPredictor,
    files: tuple[Path, ...],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    ended = run("propagate", *files, *arguments)
    assert ended.code == 2
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not files[2].exists()


def test_labels_of_another_shape(
    run: Callable[..., Any], grey: GreyPredictor, files: tuple[Path, ...]
) -> None:
    tifffile.imwrite(files[1], np.ones((24, 24), np.uint8))
    ended = run("propagate", *files)
    assert ended.code == 2
    assert "needs labels of (5, 24, 24)" in ended.err


def on_map(
    path: Path, pixels: np.ndarray, east: float = 500_000, crs: str = "EPSG:25832", **options: Any
) -> Path:
    import rasterio

    place = rasterio.transform.from_origin(east, 6_000_000, 0.5, 0.5)
    rows, cols = pixels.shape
    options |= {
        "height": rows,
        "width": cols,
        "count": 1,
        "dtype": pixels.dtype,
        "crs": crs,
        "transform": place,
    }
    with rasterio.open(path, "w", driver="GTiff", **options) as target:
        target.write(pixels[None])
    return path


def test_labels_of_a_scene_lie_on_it_and_have_nothing_where_they_have_no_data(
    run: Callable[..., Any], grey: GreyPredictor, tmp_path: Path
) -> None:
    pytest.importorskip("rasterio")
    scene = np.zeros((120, 160), np.uint8)
    scene[20:50, 20:60] = scene[70:100, 90:140] = 200
    labels = np.full(scene.shape, 255, np.uint8)
    labels[:60, :80] = scene[:60, :80] > 0
    image, out = on_map(tmp_path / "scene.tif", scene), tmp_path / "out.zarr"
    given = on_map(tmp_path / "labels.tif", labels, nodata=255)
    ended = run("propagate", image, given, out, "--tile", "64", "--halo", "8")
    assert ended.code == 0, ended.err
    assert set(np.unique(LabelStore.open(out).levels[0][...])) == {0, 1}
    moved = on_map(tmp_path / "moved.tif", labels, east=500_100)
    ended = run("propagate", image, moved, out, "--overwrite")
    assert ended.code == 2
    assert "lies 200.0 pixels beside the image" in ended.err
    zone = on_map(tmp_path / "zone.tif", labels, crs="EPSG:25833")
    ended = run("propagate", image, zone, out, "--overwrite")
    assert ended.code == 2
    assert "on the map (EPSG:25833) and lies" in ended.err
    named = on_map(tmp_path / "named.tif", labels, crs="+proj=utm +zone=32 +ellps=GRS80 +units=m", nodata=255)
    ended = run("propagate", image, named, out, "--overwrite", "--tile", "64", "--halo", "8")
    assert ended.code == 0, ended.err
    assert LabelStore.open(out).labels
