"""Session with the real predictor: the same bits by undo, by replay, and after reopening."""

from __future__ import annotations

import numpy as np
import zarr
from click_fakes import FakeModel

from napari_iseg.backends.base import Inference
from napari_iseg.interactive.session import Session
from napari_iseg.prompts import Window

CLICKS = (((40, 40), True), ((20, 60), False), ((50, 30), True))
FAST = Inference(size=(64, 64), refine_steps=1)


def picture(shape=(80, 96)) -> np.ndarray:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    disk = np.hypot(rows - 40, cols - 40) < 20
    return (disk * 150 + np.random.default_rng(0).integers(0, 60, shape)).astype(np.uint8)


def test_undo_replay_and_reopening_give_the_same_bits(tmp_path):
    session = Session(picture(), FakeModel(inference=FAST), journal=tmp_path / "s")
    masks, probabilities = [], []
    for point, positive in CLICKS:
        masks.append(session.click(point, positive))
        probabilities.append(session.probability)
    assert masks[0].any()
    assert (masks[0] != masks[1]).any()
    again = Session.open(tmp_path / "s", picture(), FakeModel(inference=FAST), cache_bytes=1)
    for mask, probability in zip(reversed(masks), reversed(probabilities), strict=True):
        np.testing.assert_array_equal(again.mask, mask)
        np.testing.assert_array_equal(again.probability, probability)
        again.undo()


def test_undo_asks_no_network():
    model = FakeModel(inference=FAST)
    session = Session(picture(), model)
    first = session.click((40, 40))
    session.click((20, 60), False)
    forwards = model.forwards
    session.undo()
    np.testing.assert_array_equal(session.mask, first)
    assert model.forwards == forwards


def test_a_plane_of_a_stack_is_a_picture_of_its_own():
    stack = np.stack([np.zeros((80, 96), np.uint8), picture()])
    session, alone = Session(stack, FakeModel(inference=FAST)), Session(picture(), FakeModel(inference=FAST))
    np.testing.assert_array_equal(session.click((1, 40, 40)), alone.click((40, 40)))


def test_a_view_of_a_large_scene_is_worked_on_coarsely_and_committed_finely():
    scene = zarr.create_array(zarr.storage.MemoryStore(), shape=(6000, 6000), chunks=(500, 500), dtype="u1")
    scene[3000:3400, 3000:3400] = 200
    session = Session(scene, FakeModel(inference=FAST))
    mask = session.click((3200, 3200), view=Window(2000, 2000, 5000, 5000))
    assert session.patch.scale == 3
    label = session.commit()
    np.testing.assert_array_equal(session.labels.read() == label, mask)
    assert mask[3200, 3200]
