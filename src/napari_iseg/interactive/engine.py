"""Engine: what is known and what must be computed about the masks of open objects."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_iseg.interactive.job import ClickPredictor, Job, Result, StateCache
from napari_iseg.interactive.objects import Draft, Plane
from napari_iseg.interactive.state import State

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model
    from napari_iseg.images import PlaneSource

MakePredictor = Callable[["PlaneSource", "Model", Plane], ClickPredictor]
_PREDICTORS = 4  # planes whose predictor is kept, with the image it has read


def default_predictor(source: PlaneSource, model: Model, plane: Plane) -> ClickPredictor:
    """The predictor of this package."""
    from napari_iseg.interactive.predictor import Predictor

    return Predictor(source, model, plane)


class Engine:
    """Makes jobs from drafts and keeps their answers, for one model at a time.

    Parameters
    ----------
    source : PlaneSource
    make : callable (source, model, plane) -> predictor
    cache_bytes : int
        Bytes of states kept; others are recomputed by replaying clicks, to the same bits.
    """

    def __init__(self, source: PlaneSource, make: MakePredictor, cache_bytes: int) -> None:
        self._source = source
        self._make = make
        self._cache = StateCache(cache_bytes)
        self._predictors: OrderedDict[Plane, ClickPredictor] = OrderedDict()
        self._since = 0  # answers to older revisions come from another model

    def state(self, plane: Plane, draft: Draft) -> State | None:
        """The state of a draft, if it is known."""
        return None if draft.is_empty else self._cache.get(plane, draft, len(draft.marks))

    def job(self, revision: int, model: Model, plane: Plane, draft: Draft) -> Job:
        """What remains to be computed for a draft, from the longest run of its clicks that is known."""
        done, state = self._cache.longest(plane, draft)
        return Job(revision, plane, draft, self._predictor(model, plane), done, state)

    def keep(self, result: Result) -> None:
        """Keep what a job found: also of one that is no longer wanted, for undo, but not of another model."""
        if result.revision >= self._since:
            for offset, state in enumerate(result.states):
                self._cache.put(result.plane, result.draft, result.first + offset, state)

    def forget(self, revision: int) -> None:
        """Another model answers from ``revision`` on."""
        self._cache.clear()
        self._predictors.clear()
        self._since = revision

    def _predictor(self, model: Model, plane: Plane) -> ClickPredictor:
        if plane not in self._predictors:
            self._predictors[plane] = self._make(self._source, model, plane)
        self._predictors.move_to_end(plane)
        while len(self._predictors) > _PREDICTORS:
            self._predictors.popitem(last=False)
        return self._predictors[plane]
