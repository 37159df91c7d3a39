"""``demo`` without a window: what it says, and the files it leaves."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_iseg.cli import demo
from napari_iseg.errors import ModelNotFoundError
from napari_iseg.images.files import open_image
from napari_iseg.samples import sample

pytestmark = pytest.mark.usefixtures("bright")


@pytest.fixture
def no_display(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "sys", SimpleNamespace(platform="linux", executable=sys.executable))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["cells", "organelles", "aerial"])
def test_headless_writes_image_labels_and_overlay(run, tmp_path, name):
    ended = run("demo", "--headless", tmp_path / "out", "--sample", name, "--json")
    assert ended.code == 0, ended.err
    assert len(ended.json["objects"]) == 5
    picture = sample(name)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "image.tif"), picture.image)
    labels = open_image(tmp_path / "out" / "labels.tif")
    assert labels.shape == picture.labels.shape
    assert labels.scale == pytest.approx(picture.scale, rel=1e-5)
    rows, cols = picture.labels.shape[-2:]
    assert np.asarray(Image.open(tmp_path / "out" / "overlay.png")).shape == (rows, cols, 3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "image.tif",
        "labels.tif",
        "overlay.png",
    ]


@pytest.mark.usefixtures("no_display")
def test_without_a_display_it_says_so_and_works_headless(run, tmp_path):
    ended = run("demo")
    assert ended.code == 0, ended.err
    assert "There is no display here" in ended.out
    assert str(tmp_path / "napari-iseg-demo") in ended.out
    assert (tmp_path / "napari-iseg-demo" / "overlay.png").exists()


@pytest.mark.usefixtures("no_display")
def test_why_there_is_no_window(monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    assert "No Qt is installed" in demo.why_no_window()
    monkeypatch.setattr(demo, "find_spec", lambda name: name == "PySide6")
    assert demo.why_no_window() == "There is no display here"
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.setattr(demo, "_OPEN_QT", "")
    assert demo.why_no_window() is None
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert "draw nothing" in demo.why_no_window()
    monkeypatch.setattr(demo, "sys", sys)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays have names on Linux only")
@pytest.mark.usefixtures("no_display")
def test_a_display_that_does_not_answer_is_none(run, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", ":979")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    ended = run("demo", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "Qt cannot open a window here" in ended.out
    assert ":979" in ended.out
    assert (tmp_path / "napari-iseg-demo" / "labels.tif").exists()


def test_square_brackets_are_printed_as_they_are(run, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)
    assert 'pip install "napari-iseg[all]"' in run("demo").out
    assert "out[all]" in run("demo", "--headless", tmp_path / "out[all]").out


def test_with_a_display_the_window_is_asked_for_what_was_said(run, monkeypatch):
    asked = {}
    fake = SimpleNamespace(open_demo=lambda name, **options: asked.update(name=name, **options))
    monkeypatch.setitem(sys.modules, "napari_iseg.widgets.launch", fake)
    monkeypatch.setattr(demo, "why_no_window", lambda: None)
    assert run("demo", "--sample", "aerial", "--device", "cpu", "-m", "some").code == 0
    assert asked == {"name": "aerial", "model": "some", "device": "cpu"}


def test_files_of_the_same_names_are_somebodys(run, tmp_path):
    (tmp_path / "labels.tif").write_text("a week of work")
    ended = run("demo", "--headless", tmp_path)
    assert ended.code == 2
    assert "labels.tif exists already" in ended.err
    assert (tmp_path / "labels.tif").read_text() == "a week of work"
    assert run("demo", "--headless", tmp_path, "--overwrite").code == 0
    assert tifffile.imread(tmp_path / "labels.tif").max() == 5


def test_a_sample_without_truth_is_refused(run, tmp_path):
    ended = run("demo", "--headless", tmp_path, "--sample", "coins")
    assert ended.code == 2
    assert "no true labels" in ended.err


def test_a_folder_that_cannot_be_made_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    ended = run("demo", "--headless", tmp_path / "file" / "out")
    assert ended.code == 2
    assert "cannot be made" in ended.err


def test_clicks_lie_inside_objects():
    labels = sample("cells").labels
    clicks = demo.central_clicks(labels, 7)
    hit = {int(labels[int(click.row), int(click.col)]) for click in clicks}
    assert len(hit) == 7
    assert 0 not in hit


def test_an_unknown_model_leaves_no_folder(run, tmp_path, monkeypatch):
    def unknown(name, **_options):
        raise ModelNotFoundError(f"There is no model {name!r}.")

    monkeypatch.setattr("napari_iseg.weights.store.load_model", unknown)
    assert run("demo", "--headless", tmp_path / "out", "-m", "nobody").code == 2
    assert not (tmp_path / "out").exists()
