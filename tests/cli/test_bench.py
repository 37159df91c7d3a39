"""``napari-iseg bench``: times of what a person waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_iseg.errors import InputError
from napari_iseg.evaluation.speed import click_speed, edge_speed, fewshot_speed
from napari_iseg.fewshot.base import Prediction
from napari_iseg.weights.store import list_models


class Slow:
    """A few-shot model that takes its time, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rounds = 0

    def encode(self, image: Any) -> Any:
        self.now += 4.0
        return image

    def segment_support(self, *_: Any) -> Prediction:
        self.rounds += 1
        self.now += 100.0 if self.rounds == 1 else 1.0
        return Prediction(np.zeros((2, 1, 1), np.float32), 1.0, np.zeros(1, np.float32))

    def embed(self, *_: Any) -> Any:
        self.now += 50.0
        return None

    def predict(self, *_: Any) -> list[Prediction]:
        self.now += 2.0
        return []


def test_the_first_round_and_what_nobody_waits_for_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Slow()
    monkeypatch.setattr("napari_iseg.evaluation.speed.time.perf_counter", lambda: model.now)
    found = fewshot_speed(model, 32, 2)  # type: ignore[arg-type]
    assert found == {"support click": 1.0, "new tile": 6.0, "known tile": 2.0}


def test_edges_are_timed_by_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Edges:
        def probability(self, image: Any, mask: Any) -> None:
            seen.append((image.shape, int(mask.sum())))

    assert set(edge_speed(Edges(), 64, 2)) == {"refined window"}  # type: ignore[arg-type]
    assert seen == [((64, 64, 3), 32 * 32)] * 3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_clicks_from_the_command_line(run: Callable[..., Any], precision: str) -> None:
    options = ["--size", "64", "--repeats", "1", "--device", "cpu", "--precision", precision]
    ended = run("bench", "cfr-icl-starter", "training-free", *options, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["size"] == 64
    found, free = ended.json["models"]
    assert (found["precision"], free["precision"]) == (precision, "float32")
    assert set(found["seconds"]) == {"first click", "later click"}
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert found["device"] == "cpu"


def test_without_a_name_all_models_here_that_take_clicks_are_timed(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = [card for card in list_models() if card.is_local and card.name != "ifsenet-starter"]
    monkeypatch.setattr("napari_iseg.weights.store.list_models", lambda store=None: shipped)
    ended = run("bench", "--size", "64", "--repeats", "1", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    timed = {found["model"] for found in ended.json["models"]}
    assert timed == {"adaptiveclick-starter", "cfr-icl-starter", "mst-starter", "sam-starter"}


def test_what_cannot_be_timed_is_one_sentence(run: Callable[..., Any]) -> None:
    ended = run("bench", "interpolation")
    assert ended.code == 2
    assert "nothing to time" in ended.err
    with pytest.raises(InputError, match="32 pixels and one repeat"):
        click_speed(None, 8)  # type: ignore[arg-type]
