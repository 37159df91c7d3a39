"""The starter weights from the command line and from Python: headless = library, and it finds objects."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_iseg as iseg
from napari_iseg.cli import main
from napari_iseg.samples import sample, sample_folder

STARTER = "cfr-icl-starter"
DOCS = Path(__file__).parents[2] / "docs"
HAS_DISPLAY = sys.platform in ("win32", "darwin") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """``command("segment", path, ...)`` as typed at a prompt; answers with its JSON."""

    def run(*arguments: object) -> Any:
        capfd.readouterr()
        main([*map(str, arguments), "--json"])
        return json.loads(capfd.readouterr().out)

    return run


@pytest.fixture(scope="module")
def model() -> Any:
    return iseg.load_model(STARTER, device="cpu")


def test_the_tutorials_clicks_find_the_nucleus(model):
    """Whoever types them shall see what the words beside them say: one too many, then the one."""
    page = (DOCS / "tutorials" / "first-object.md").read_text(encoding="utf-8")
    found = re.findall(r"session\.click\(\((\d+), (\d+)\)(, positive=False)?\)", page)
    clicks = [((int(row), int(col)), not negative) for row, col, negative in found]
    (first, _), (second, _) = clicks
    assert f"--click {first[0]},{first[1]} --background {second[0]},{second[1]}" in page
    cells = sample("cells")
    truth = np.asarray(cells.labels) == cells.labels[first]
    session = iseg.Session(cells.image, model)
    masks = [session.click(point, positive=positive) for point, positive in clicks]
    ious = [(mask & truth).sum() / (mask | truth).sum() for mask in masks]
    assert ious[1] > max(0.8, ious[0] + 0.1)


@pytest.mark.parametrize(
    ("name", "plane", "clicks"),
    [
        ("cells", (), [(109, 164, True), (112, 160, True), (105, 206, False)]),
        ("organelles", (8,), [(61, 84, True), (61, 139, False)]),
        ("aerial", (), [(195, 340, True)]),
    ],
)
def test_command_line_and_session_give_the_same_bits(command, tmp_path, model, name, plane, clicks):
    options = [
        word for row, col, on in clicks for word in ("--click" if on else "--background", f"{row},{col}")
    ]
    if plane:
        options += ["--plane", ",".join(map(str, plane))]
    out = tmp_path / "labels.tif"
    found = command("segment", sample_folder() / f"{name}.tif", *options, "-o", out, "--device", "cpu")
    picture = sample(name)
    session = iseg.Session(picture.image, model, rgb=picture.rgb)
    for row, col, on in clicks:
        mask = session.click((*plane, row, col), on)
    assert mask.any()
    label = session.commit()
    assert found["objects"][0]["label"] == label == 1
    assert found["objects"][0]["area"] == int(mask.sum())
    written = tifffile.imread(out)
    np.testing.assert_array_equal(written[plane], session.labels.read(plane))
    np.testing.assert_array_equal(written[plane] == 1, mask)
    assert written.shape == picture.labels.shape


def test_the_headless_demo_finds_nuclei(command, tmp_path):
    found = command("demo", "--headless", tmp_path, "--device", "cpu")
    overlaps = [record["iou"] for record in found["objects"]]
    assert np.mean(overlaps) > 0.7, overlaps
    labels = tifffile.imread(tmp_path / "labels.tif")
    truth = sample("cells").labels
    for record in found["objects"]:
        (row, col, _) = record["clicks"][0]
        true = truth == truth[int(row), int(col)]
        mine = labels == record["label"]
        assert (mine & true).sum() / (mine | true).sum() == pytest.approx(record["iou"], abs=1e-4)


def test_the_same_demo_twice_is_the_same(command, tmp_path):
    for folder in ("one", "two"):
        command("demo", "--headless", tmp_path / folder, "--device", "cpu")
    one, two = (tifffile.imread(tmp_path / folder / "labels.tif") for folder in ("one", "two"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(
    not HAS_DISPLAY, reason="needs a display: run under xvfb-run -a -s '-screen 0 1280x1024x24'"
)
def test_the_demo_opens_a_window_with_one_object(tmp_path):
    script = tmp_path / "demo.py"
    script.write_text(_WATCHED_DEMO)
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.strip().splitlines()[-1])
    assert report["docks"] == ["Click segmentation"]
    assert report["object_pixels"] > 50


_WATCHED_DEMO = """
import json, time
import napari, numpy as np
from qtpy.QtWidgets import QApplication
from napari_iseg.cli import main

opened = []

def watched(**_):
    viewer, end = opened[0], time.monotonic() + 180
    pixels = 0
    while not pixels and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.02)
        labels = [layer for layer in viewer.layers if type(layer).__name__ == "Labels"]
        masks = [layer.data for layer in labels if not layer.multiscale]
        pixels = max((int(np.count_nonzero(mask)) for mask in masks), default=0)
    print(json.dumps({"docks": list(viewer.window.dock_widgets), "object_pixels": pixels}))
    viewer.close()

def remembered(make=napari.Viewer, **options):
    opened.append(make(**options))
    return opened[0]

napari.Viewer, napari.run = remembered, watched
main(["demo", "--device", "cpu"])
"""


def test_paths_with_blanks_and_letters_of_other_alphabets(command, tmp_path):
    folder = tmp_path / "mit Leerraum é 細胞"
    folder.mkdir()
    image = folder / "bild é.tif"
    tifffile.imwrite(image, sample("cells").image)
    out = folder / "maske 細.tif"
    command("segment", image, "--click", "109,164", "-o", out, "--device", "cpu")
    assert Path(out).is_file()


@pytest.mark.parametrize("name", ["aerial", "cells"])
def test_the_edge_starter_makes_coarse_outlines_better(name: str) -> None:
    from napari_iseg.evaluation.coarse import degraded
    from napari_iseg.images import PlaneSource
    from napari_iseg.interactive.edges import refine_edges
    from napari_iseg.prompts import Window
    from napari_iseg.weights.store import load_edge_model

    picture, refiner = sample(name), load_edge_model("is5net-starter", device="cpu")
    source = PlaneSource.wrap(picture.image, rgb=picture.rgb)
    rgb = source.read(Window.of_shape(source.shape))
    scores = []
    for label in (3, 5, 8, 11, 13):
        truth = picture.labels == label
        coarse = degraded(truth, np.random.default_rng(label), 1.5)
        fine = refine_edges(rgb, coarse, refiner)
        scores.append([(mask & truth).sum() / (mask | truth).sum() for mask in (coarse, fine)])
    before, after = np.mean(scores, 0)
    assert after > before + 0.01
    assert min(fine for _, fine in scores) > 0.8
