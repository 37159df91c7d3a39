"""Refining edges as a step of a session: undo, journal, reopening, commits, painted masks."""

import numpy as np
import pytest
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import InputError
from napari_iseg.interactive.session import Session

SHAPE = (3, 60, 80)


class SquareRefiner:
    """Takes all pixels within two of the coarse mask for the object; the whole window when ``lost``."""

    size, threshold = 256, 0.5

    def __init__(self, lost=False):
        self.lost = lost
        self.asked = []

    def probability(self, image, mask, box=None):
        self.asked.append((image.shape, box))
        if self.lost:
            return (~mask & (np.indices(mask.shape).sum(0) < 9)).astype(np.float32)
        grown = mask.copy()
        for axis in (0, 1):
            for step in (-2, -1, 1, 2):
                grown |= np.roll(mask, step, axis)
        return grown.astype(np.float32)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)


def make(image, **options):
    return Session(image, FakeModel(), make_predictor=FakePredictor, **options)


def test_refined_mask_stands_until_the_next_prompt_and_can_be_undone(image):
    session = make(image)
    coarse = session.click((30, 40))
    refined = session.refine_edges(SquareRefiner())
    assert refined.sum() > coarse.sum()
    assert (refined | coarse).sum() == refined.sum()
    np.testing.assert_array_equal(session.mask, refined)
    assert session.undo()
    np.testing.assert_array_equal(session.mask, coarse)
    assert session.redo()
    np.testing.assert_array_equal(session.mask, refined)
    again = session.click((20, 20))
    session.undo()
    np.testing.assert_array_equal(session.mask, refined)
    fresh = make(image)
    fresh.click((30, 40))
    np.testing.assert_array_equal(again, fresh.click((20, 20)))


def test_it_can_be_repeated_and_works_after_a_box(image):
    session, model = make(image), SquareRefiner()
    session.box((10, 10, 40, 50))
    once = session.refine_edges(model)
    twice = session.refine_edges(model)
    assert twice.sum() > once.sum()
    assert all(box is not None for _, box in model.asked)


def test_a_painted_mask_needs_no_model_and_no_click(image):
    session = Session(image)
    painted = np.zeros(SHAPE[1:], bool)
    painted[20:30, 20:40] = True
    session.set_mask(painted)
    np.testing.assert_array_equal(session.mask, painted)
    refined = session.refine_edges(SquareRefiner())
    assert refined[18, 25]
    label = session.commit()
    np.testing.assert_array_equal(session.labels.read((0,), _whole()) == label, refined)
    session.reopen(label)
    np.testing.assert_array_equal(session.mask, refined)
    session.reset()
    assert not session.mask.any()


def _whole():
    from napari_iseg.prompts import Window

    return Window(0, 0, *SHAPE[1:])


def test_a_session_opened_again_has_the_same_masks_and_history(image, tmp_path):
    first = make(image, journal=tmp_path / "s")
    first.plane = (1,)
    coarse = first.click((30, 40))
    refined = first.refine_edges(SquareRefiner())
    first.close()
    again = Session.open(tmp_path / "s", image, FakeModel(), make_predictor=FakePredictor)
    assert again.plane == (1,)
    np.testing.assert_array_equal(again.mask, refined)  # without the refinement model
    again.undo()
    np.testing.assert_array_equal(again.mask, coarse)
    again.close()


def test_every_plane_has_its_own(image):
    session = make(image)
    session.click((30, 40))
    refined = session.refine_edges(SquareRefiner())
    session.plane = (2,)
    assert not session.mask.any()
    session.plane = (0,)
    np.testing.assert_array_equal(session.mask, refined)


def test_a_result_that_comes_too_late_is_dropped(image):
    session = make(image)
    session.click((30, 40))
    job = session.edge_job(SquareRefiner)
    wanted = session.click((20, 20))
    assert not session.finish_edges(job.run())
    np.testing.assert_array_equal(session.mask, wanted)


def test_coarse_grids_are_refined_at_full_resolution(image):
    from napari_iseg.prompts import Window

    session = make(image)
    session.click((30, 40), view=Window(0, 0, 60, 80))
    assert session.patch.scale == 2
    session.refine_edges(SquareRefiner())
    assert session.patch.scale == 1


def test_a_refinement_model_is_no_model_for_clicks(image):
    from types import SimpleNamespace

    from napari_iseg.evaluation.protocol import as_method

    edges = SimpleNamespace(card=SimpleNamespace(name="is5net-starter"), probability=None)
    with pytest.raises(InputError, match="refine_edges"):
        make(image).model = edges
    with pytest.raises(InputError, match="--dis"):
        as_method(edges)


def test_refusals_record_nothing(image):
    session = make(image)
    with pytest.raises(InputError, match="no object"):
        session.refine_edges(SquareRefiner())
    with pytest.raises(InputError, match="does not refine edges"):
        session.refine_edges(FakeModel())
    with pytest.raises(InputError, match="shape"):
        session.set_mask(np.ones((4, 4), bool))
    with pytest.raises(InputError, match="empty"):
        session.set_mask(np.zeros(SHAPE[1:], bool))
    assert not session.can_undo
    mask = session.click((30, 40))
    with pytest.raises(InputError, match="lost the object"):
        session.refine_edges(SquareRefiner(lost=True))
    np.testing.assert_array_equal(session.mask, mask)
