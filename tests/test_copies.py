"""Models, and what asks them, can be copied, pickled and so sent to other processes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import napari_iseg as iseg
from napari_iseg.backends.embeddings import EmbeddingCache
from napari_iseg.errors import InputError
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click
from starters import IMAGE, STARTERS, few_shot

pytestmark = pytest.mark.usefixtures("one_thread")


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("name", STARTERS)
def test_models_are_pickled_and_copied(name: str) -> None:
    load, _ = STARTERS[name]
    model = load(name)
    assert type(pickled(model)) is type(copy.deepcopy(model)) is type(model)


@pytest.mark.parametrize("name", ["mst-starter", "sam-starter"])
def test_a_copied_predictor_goes_on(name: str) -> None:
    predictor = Predictor(iseg.PlaneSource.wrap(IMAGE), iseg.load_model(name))
    state = predictor.step(None, Click(30, 30))
    expected = predictor.step(state, Click(2, 60, False)).probability
    for made in (pickled(predictor), copy.deepcopy(predictor)):
        np.testing.assert_array_equal(made.step(pickled(state), Click(2, 60, False)).probability, expected)


@pytest.mark.parametrize("name", ["ifsenet-starter", "training-free"])
def test_a_copied_few_shot_keeps_its_supports_and_no_features(name: str) -> None:
    few = few_shot(name)
    expected = few.segment(IMAGE[:, ::-1]).probability
    assert few.cache.nbytes
    for made in (pickled(few), copy.deepcopy(few)):
        assert not made.cache.nbytes
        np.testing.assert_array_equal(made.segment(IMAGE[:, ::-1]).probability, expected)
        assert made.cache.nbytes


def test_embeddings_in_memory_stay_where_they_are() -> None:
    cache = EmbeddingCache()
    cache.put("picture", torch.zeros(3))
    made = pickled(cache)
    assert (made.get("picture"), made.nbytes, cache.nbytes) == (None, 0, 12)
    made.put("picture", torch.ones(3))
    assert made.nbytes == 12


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_session_says_that_there_is_one_of_it(how: Any) -> None:
    with pytest.raises(InputError, match="cannot be copied or pickled; make another"):
        how(iseg.Session(IMAGE))
