"""The shipped weights for thin structures: a made vessel tree, and objects that are none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import napari_iseg as iseg
from napari_iseg.evaluation.clicks import ClickSimulator
from napari_iseg.evaluation.methods import ModelMethod
from napari_iseg.evaluation.protocol import click_loop
from napari_iseg.samples import sample

SIDE = 640


def vessels(seed: int) -> np.ndarray:
    """A tree of strokes 3 to 6 pixels wide, from the middle of the picture."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((SIDE, SIDE), np.uint8)

    def grow(row: float, col: float, heading: float, width: float, length: float) -> None:
        while length > 0 and width >= 3 and 0 <= row < SIDE and 0 <= col < SIDE:
            heading += rng.normal(0, 0.12)
            ahead = row + 8 * np.sin(heading), col + 8 * np.cos(heading)
            cv2.line(drawn, (int(col), int(row)), (int(ahead[1]), int(ahead[0])), 1, round(width))
            (row, col), length = ahead, length - 8
            if rng.random() < 0.09:
                turn = rng.choice([-1, 1]) * rng.uniform(0.4, 0.9)
                grow(row, col, heading + turn, width - 1, length * 0.8)

    for heading in np.linspace(0, 2 * np.pi, 7)[:-1]:
        grow(SIDE / 2, SIDE / 2, heading, 6, SIDE * 0.6)
    return drawn > 0


def fundus(truth: np.ndarray, seed: int) -> np.ndarray:
    """The tree dark on an uneven, noisy ground."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(
        rng.normal(150, 18, (5, 5)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
    )
    image = (
        ground - 45 * cv2.GaussianBlur(truth.astype(np.float32), (0, 0), 1) + rng.normal(0, 6, truth.shape)
    )
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> Any:
    return iseg.load_model("cfr-icl-starter", device="cpu")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_few_clicks_find_a_tree_that_the_click_model_alone_does_not(model: Any, seed: int) -> None:
    truth = vessels(seed)
    image = fundus(truth, seed)
    alone, helped = (
        click_loop(ModelMethod(one), image, truth.astype(np.int8), 3, 2.0)[0]
        for one in (model.with_inference(thin=""), model)
    )
    assert helped[0] == alone[0]  # the first click is the click model's
    assert helped[2] > alone[2] + 0.3


def test_a_session_gives_the_tree_and_takes_it_back_exactly(model: Any) -> None:
    truth = vessels(0)
    session = iseg.Session(fundus(truth, 0), model)
    simulator = ClickSimulator(truth)
    masks = [np.zeros(truth.shape, bool)]
    clicks = []
    for _ in range(4):
        click = simulator.next(masks[-1])
        clicks.append(click)
        masks.append(session.click((click.row, click.col), positive=click.positive))
    assert np.count_nonzero(masks[3] & truth) / np.count_nonzero(masks[3] | truth) > 0.5
    session.undo()
    assert np.array_equal(session.mask, masks[3])
    session.redo()
    assert np.array_equal(session.mask, masks[4])
    again = iseg.Session(fundus(truth, 0), model)  # another session computes everything anew
    for click in clicks:
        mask = again.click((click.row, click.col), positive=click.positive)
    assert np.array_equal(mask, masks[4])


@pytest.mark.parametrize("name", ["cells", "organelles"])
def test_what_is_not_thin_is_left_to_the_click_model(model: Any, name: str) -> None:
    picture = sample(name)
    image, labels = np.asarray(picture.image), np.asarray(picture.labels)
    if image.ndim == 3 and not picture.rgb:
        image, labels = image[len(image) // 2], labels[len(labels) // 2]
    for label in np.unique(labels)[1:4]:
        truth = (labels == label).astype(np.int8)
        alone = click_loop(ModelMethod(model.with_inference(thin="")), image, truth, 4, 2.0)[0]
        assert click_loop(ModelMethod(model), image, truth, 4, 2.0)[0] == alone
