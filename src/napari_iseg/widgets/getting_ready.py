"""What is loaded before the first click, in the worker, while the dock is drawn and can be used already."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.widgets.layers import object_colors
from napari_iseg.widgets.model_choice import ModelChoice
from napari_iseg.widgets.smooth_loading import no_collection
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

TABLES = "pandas"  # napari imports it for its first points layer, which takes it a third of a second
SESSIONS = "napari_iseg.interactive.session"  # with zarr, what the first click would import


class GettingReady:
    """Loads what points layers need, and the model, each when it is asked to.

    Parameters
    ----------
    worker : where things are loaded
    choice : knows the model
    changed : called when `activity` has changed
    points_ready : called once points layers can be made without holding the window
    model_ready : called once the model is there

    Attributes
    ----------
    for_points : whether points layers may be made: once the dock is drawn, and without holding the window
    activity : what is being loaded, in words, or ""
    """

    def __init__(
        self,
        worker: Worker,
        choice: ModelChoice,
        *,
        changed: Callable[[], None],
        points_ready: Callable[[], None],
        model_ready: Callable[[], None],
    ) -> None:
        self._worker, self._choice = worker, choice
        self._changed, self._points_ready, self._model_ready = changed, points_ready, model_ready
        self.activity = ""
        self.for_points = False

    def prepare_points(self, then: Callable[[], None]) -> None:
        """Have points layers once what they need is loaded; should that fail, napari will say why."""

        def there(_outcome: Any = None) -> None:
            self.points_now()
            then()

        if TABLES in sys.modules:
            there()
        else:
            self._worker.submit_task(lambda _cancelled: _load_tables(), there, there)

    def points_now(self) -> None:
        """Have points layers at once, as a script needs them that goes on to click."""
        if not self.for_points:
            self.for_points = True
            self._points_ready()

    def preload(self) -> None:
        """Load the model before the first click; should that fail, the first click will say why."""
        if self._choice.key is not None and not self._worker.busy:
            self.activity = "Loading the model"
            self._worker.submit_task(lambda _cancelled: self.load(), self._preloaded, self._preloaded)
            self._changed()

    def load(self) -> Model:
        """The model; in the worker."""
        with no_collection():
            _compile_colors()
            _compile_shapes()
            import_module(SESSIONS)
        return self._choice.load()

    def _preloaded(self, _outcome: Any) -> None:
        self.activity = ""
        self._model_ready()


def _load_tables() -> None:
    with no_collection():
        import_module(TABLES)


def _compile_colors() -> None:
    """Have napari compile its colour mapping of labels, which takes half a second at the first labels layer.

    The layers made here never meet a viewer.
    """
    from napari.layers import Labels

    Labels(np.ones((2, 2), np.uint8), colormap=object_colors())
    Labels(np.ones((2, 2), np.uint32))


def _compile_shapes() -> None:
    """Likewise for shapes, a fifth of a second at the first layer of boxes."""
    from napari.layers import Shapes

    Shapes([np.asarray([(0, 0), (0, 9), (9, 9), (9, 0)])])
