"""Which model refines edges: those on this machine, loaded in the worker when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_iseg.errors import ModelNotFoundError
from napari_iseg.widgets.model_loader import ModelKey, ModelLoader

if TYPE_CHECKING:
    from napari_iseg.backends.edge_model import EdgeModel
    from napari_iseg.widgets.editor import Editor

NO_EDGE_MODEL = (
    "No model that refines edges is on this machine; `napari-iseg models list` shows where to get one, then "
    "open this dock again."
)


class EdgeChoice:
    """The user's choice of a refinement model.

    Parameters
    ----------
    loader : loads models

    Attributes
    ----------
    key : the chosen model; None when there is none on this machine
    """

    def __init__(self, loader: ModelLoader) -> None:
        self.key: ModelKey | None = None
        self._loader = loader

    def refine(self, editor: Editor, say: Callable[[str], None]) -> None:
        """Refine the editor's current object, or say what is missing."""
        if not editor.has_object:
            say("There is nothing to refine; click on an object first.")
        elif self.key is None:
            say(NO_EDGE_MODEL)
        else:
            editor.refine_edges(self.load)

    def load(self) -> EdgeModel:
        """The model; slow, for the worker. Raises an IsegError when there is none, or it cannot be loaded."""
        if self.key is None:
            raise ModelNotFoundError(NO_EDGE_MODEL)
        return self._loader.load_edges(self.key)
