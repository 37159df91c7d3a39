"""Models for the dock: listed without torch, loaded in the worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.backends import role
from napari_iseg.errors import DeviceError
from napari_iseg.widgets.smooth_loading import torch_at_hand

if TYPE_CHECKING:
    from napari_iseg.backends.cards import ModelCard
    from napari_iseg.backends.edge_model import EdgeModel
    from napari_iseg.backends.model import Model
    from napari_iseg.weights.store import Store

STARTER = "cfr-icl-starter"  # ships with the package
EDGE_STARTER = "is5net-starter"


@dataclass(frozen=True)
class ModelKey:
    """What decides which network is in memory."""

    name: str
    device: str = "auto"
    precision: str = "auto"


class ModelLoader:
    """Lists models and loads them; the last one stays in memory for other images of the same dock.

    Parameters
    ----------
    folder : where the user's models are; None for the default of this account

    Attributes
    ----------
    embedding_bytes : of pictures' embeddings that are kept on disk, beside the user's models; 0: none
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.embedding_bytes = 0
        self._folder = folder
        self._last: tuple[ModelKey, Model] | None = None
        self._last_edges: tuple[ModelKey, EdgeModel] | None = None

    @cached_property
    def _listed(self) -> list[ModelCard]:
        """All cards as they were when the dock was opened: reading them is a tenth of its opening."""
        return self._store().list_models()

    def cards(self) -> list[ModelCard]:
        """All models that answer clicks: the starter first, then those on this machine, then the others."""
        cards = [card for card in self._listed if role(card.backend) == "click"]
        return sorted(cards, key=lambda card: (not card.is_local, card.name != STARTER, card.name))

    def edge_cards(self) -> list[ModelCard]:
        """The models on this machine that refine edges, the starter first."""
        cards = [card for card in self._listed if role(card.backend) == "edges"]
        local = [card for card in cards if card.is_local]
        return sorted(local, key=lambda card: (card.name != EDGE_STARTER, card.name))

    def load_edges(self, key: ModelKey) -> EdgeModel:
        """A refinement model, as `load`."""
        if self._last_edges is not None and self._last_edges[0] == key:
            return self._last_edges[1]
        with torch_at_hand(), _memory_in_words():
            from napari_iseg.weights.store import load_edge_model

            model = load_edge_model(key.name, device=key.device, precision=key.precision, store=self._store())
        self._last_edges = (key, model)
        return model

    def load(self, key: ModelKey) -> Model:
        """The model ready to answer; slow, for the worker.

        Raises
        ------
        IsegError
            The model is not here, damaged, or too large, or the device is not there.
        """
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        with torch_at_hand(), _memory_in_words():
            from napari_iseg.weights.store import load_click_model

            model = load_click_model(
                key.name, device=key.device, precision=key.precision, store=self._store()
            )
        if self.embedding_bytes and "box" in model.card.prompts:
            folder = self._store().home / "embeddings"
            model.keep_embeddings(folder=folder, limit=self.embedding_bytes)
        self._last = (key, model)
        return model

    def forget(self) -> None:
        """Let go of the models in memory."""
        self._last = self._last_edges = None

    def _store(self) -> Store:
        from napari_iseg.weights.store import Store

        return Store(self._folder)


def short_of_memory(error: Exception) -> str:
    """What to do where Python or torch ran out of memory; empty for other errors."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for this
        return (
            "The memory of the GPU is too small for this; close what else uses it, or choose the device cpu."
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return "There is not enough memory for this; close other images or programs, or take a smaller model."
    return ""


@contextmanager
def _memory_in_words() -> Iterator[None]:
    """A `DeviceError`, after which the dock goes back to what works, where the memory is too small."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        sentence = short_of_memory(error)
        if sentence:
            raise DeviceError(sentence) from error
        raise
