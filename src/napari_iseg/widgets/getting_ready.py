"""What is loaded before the first click, in the worker, while the dock is drawn and can be used already."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.widgets.layers import object_colors
from napari_iseg.widgets.model_choice import ModelChoice
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

TABLES = "pandas"  # napari imports it for its first points layer, which takes it a third of a second


class GettingReady:
    """Loads what points layers need as soon as it is made, and the model when it is asked to.

    Parameters
    ----------
    worker : where things are loaded
    choice : knows the model
    changed : called when `activity` has changed
    points_ready : called once points layers can be made without holding the window
    model_ready : called once the model is there

    Attributes
    ----------
    for_points : whether points layers can be made without holding the window
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
        self.for_points = TABLES in sys.modules
        if not self.for_points:
            # Should it fail, napari will say why when the layer is made.
            worker.submit_task(
                lambda _cancelled: import_module(TABLES), self._tables_there, self._tables_there
            )

    def _tables_there(self, _outcome: Any) -> None:
        self.for_points = True
        self._points_ready()

    def preload(self) -> None:
        """Load the model before the first click; should that fail, the first click will say why."""
        if self._choice.key is not None and not (self.for_points and self._worker.busy):
            self.activity = "Loading the model"
            self._worker.submit_task(lambda _cancelled: self.load(), self._preloaded, self._preloaded)
            self._changed()

    def load(self) -> Model:
        """The model; in the worker."""
        _compile_colors()
        return self._choice.load()

    def _preloaded(self, _outcome: Any) -> None:
        self.activity = ""
        self._model_ready()


def import_tables() -> None:
    """Have points layers ready at once, where nobody waits for a window to be drawn."""
    import_module(TABLES)


def _compile_colors() -> None:
    """Have napari compile its colour mapping of labels, which takes half a second at the first labels layer.

    The layers made here never meet a viewer.
    """
    from napari.layers import Labels

    Labels(np.ones((2, 2), np.uint8), colormap=object_colors())
    Labels(np.ones((2, 2), np.uint32))
