"""Refining the edges of a session's open object: a job on values that cannot change, for any thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_iseg.errors import InputError
from napari_iseg.interactive.edges import PlaneView, Refiner, refined_region
from napari_iseg.interactive.job import never
from napari_iseg.interactive.objects import Plane
from napari_iseg.interactive.patch import Patch
from napari_iseg.labels.regions import Region
from napari_iseg.prompts import Box, Window

if TYPE_CHECKING:
    from napari_iseg.images import PlaneSource


@dataclass(frozen=True)
class EdgeResult:
    """The pixels of the refined object of a plane, and the revision of the session they answer."""

    revision: int
    plane: Plane
    region: Region


@dataclass(frozen=True)
class EdgeJob:
    """The open object of a plane at one moment, and what refines it.

    Attributes
    ----------
    box : the drawn box, if there is one
    load : gives the refinement model, in the thread that runs the job
    """

    revision: int
    plane: Plane
    source: PlaneSource
    patch: Patch
    box: Box | None
    load: Callable[[], Refiner]

    def run(self, cancelled: Callable[[], bool] = never) -> EdgeResult:
        """Refine; InputError when that loses the object, CancelledError when it was stopped."""
        extent = self.patch.extent
        if extent is None:
            raise InputError("The object is empty, so there is nothing to refine; click on it first.")
        view = PlaneView(
            Window.of_shape(self.source.shape),
            extent,
            lambda window, scale: self.source.read(window, self.plane, scale),
            self.patch.full_mask,
            lambda window: self.source.valid(window, self.plane),
        )
        return EdgeResult(self.revision, self.plane, refined_region(view, self.load(), self.box, cancelled))


def as_refiner(model: Refiner | str | Path) -> Refiner:
    """A refinement model, loaded if it is a name or a checkpoint's path.

    Raises
    ------
    InputError
        For a model that does not refine edges; other errors as of ``weights.store.load_model``.
    """
    if isinstance(model, str | Path):
        from napari_iseg.weights.store import load_edge_model

        return load_edge_model(model)
    if not hasattr(model, "probability"):
        name = getattr(getattr(model, "card", None), "name", type(model).__name__)
        raise InputError(f"The model {name!r} does not refine edges; give one like 'is5net-dis-sam'.")
    return model
