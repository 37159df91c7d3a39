"""What is of another kind than it must be is refused in one sentence, and numpy's numbers are numbers."""

from __future__ import annotations

import numpy as np
import pytest
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import InputError
from napari_iseg.interactive.session import Session
from napari_iseg.interactive.session_copy import copy_session
from napari_iseg.prompts import Box, Click
from napari_iseg.samples import sample
from napari_iseg.training.recipe import read_recipe
from napari_iseg.training.synthetic import random_scene

IMAGE = np.zeros((24, 28), np.uint8)


@pytest.mark.parametrize("model", [5, object(), FakeModel, IMAGE])
def test_only_a_loaded_model_is_taken(model):
    with pytest.raises(InputError, match="A session needs a loaded model"):
        Session(IMAGE, model)
    session = Session(IMAGE, FakeModel(), make_predictor=FakePredictor)
    with pytest.raises(InputError, match="A session needs a loaded model"):
        session.model = model
    assert session.model == FakeModel()


@pytest.mark.parametrize("label", [[1], {}, "a", None, 1.5])
def test_only_a_label_is_reopened(label):
    with pytest.raises(InputError, match="A label is a whole number"):
        Session(IMAGE).reopen(label)


@pytest.mark.parametrize("value", ["a", "3", None, [1], 1 + 2j, np.array([1, 2]), 2**2000])
def test_coordinates_are_numbers(value):
    with pytest.raises(InputError, match="A click needs finite coordinates"):
        Click(value, 1)
    with pytest.raises(InputError, match="A box needs finite corners"):
        Box(1, 2, 3, value)


def test_numpys_numbers_are_taken_everywhere():
    session = Session(np.zeros((3, 24, 28), np.uint8), FakeModel(radius=4), make_predictor=FakePredictor)
    session.click(np.array([9, 11]), view=np.array([0, 0, 20, 20]))
    session.click((np.int64(3), np.float32(4.5)), positive=False)
    session.move_click(0, np.array([8.0, 9.0]))
    session.box(np.array([2, 3, 20, 21]))
    session.plane = np.array([1])
    assert session.plane == (1,)
    session.plane = (0,)
    assert session.clicks == (Click(8.0, 9.0), Click(3.0, 4.5, False))
    assert session.current_box == Box(2.0, 3.0, 20.0, 21.0)


def test_paths_may_be_text(tmp_path):
    Session(IMAGE, journal=str(tmp_path / "a")).close()
    assert copy_session(str(tmp_path / "a"), str(tmp_path / "b")) == tmp_path / "b"
    with pytest.raises(InputError, match="not a session folder"):
        copy_session("nowhere", "b")
    with pytest.raises(InputError, match=r"There is no recipe at toy\.toml"):
        read_recipe("toy.toml")


@pytest.mark.parametrize("size", [0, -3, (0, 5), "a", 2.5, None, (3,), (4, 4, 4)])
def test_a_scene_has_a_size(size):
    with pytest.raises(InputError, match="A scene's size"):
        random_scene(np.random.default_rng(0), size)


def test_a_scenes_size_may_be_numpys():
    image, labels = random_scene(np.random.default_rng(0), np.int64(20))
    assert (image.shape, labels.shape) == ((20, 20, 3), (20, 20))


@pytest.mark.parametrize("name", [5, [], None])
def test_a_sample_has_a_name(name):
    with pytest.raises(InputError, match="read by its name"):
        sample(name)


def test_a_click_is_no_point_and_the_refusal_says_what_to_give():
    session = Session(IMAGE, FakeModel(), make_predictor=FakePredictor)
    with pytest.raises(InputError, match=r"give the point as \(3, 4\), and positive=False for its sign"):
        session.click(Click(3, 4, False))
    session.click((9, 9))
    with pytest.raises(InputError, match=r"give the point as \(3, 4\)"):
        session.move_click(0, Click(3, 4))
    assert session.clicks == (Click(9, 9),)
