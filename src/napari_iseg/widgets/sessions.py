"""Opening a session for an image layer: what is known in the GUI thread, done in the worker."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_iseg.errors import InputError
from napari_iseg.files import made
from napari_iseg.labels.metadata import default_axes
from napari_iseg.widgets.origin import Origin
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.reports import warn
from napari_iseg.widgets.scene import image_shape

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_iseg.backends.model import Model
    from napari_iseg.images import PlaneSource
    from napari_iseg.interactive.session import Session


def whereabouts(image: Image, axes: PlaneAxes) -> dict[str, Any]:
    """Keywords of `Session.place`, in the order leading axes, rows, cols."""
    order = [*axes.leading, axes.rows, axes.cols]
    return {
        "scale": [float(image.scale[axis]) for axis in order],
        "translate": [float(image.translate[axis]) for axis in order],
        "units": [str(image.units[axis]) for axis in order],
    }


def face(session: Session, scale: Sequence[float]) -> None:
    """Let a reopened session's labels run in the directions of its image, which it did not always record."""
    space = session.labels.space
    turned = tuple(math.copysign(step, now) for step, now in zip(space.scale, scale, strict=True))
    if turned != space.scale:
        session.place(scale=turned, translate=space.translate, units=space.units)


@dataclass(frozen=True, eq=False)
class SessionPlan:
    """All that a session needs of an image layer, taken from it in the GUI thread.

    Attributes
    ----------
    name : of the layer; part of the session folder's name
    data : array or list of levels, finest first
    rgb : whether its last axis is colour
    axes : the plane that is clicked in
    space : keywords of the label store (shape, scale, ...), in the order leading axes, rows, cols
    autosave : the folder of the session folders, None for none
    origin : where the image came from
    left : the folder of an earlier session to go on with, should it be there still
    values : what a picture in 8 bits was made from, which knows where nothing was seen; None for others
    """

    name: str
    data: Any
    rgb: bool
    axes: PlaneAxes
    space: dict[str, Any]
    autosave: Path | None
    origin: Origin
    left: Path | None = None
    values: PlaneSource | None = None

    @classmethod
    def of(
        cls, image: Image, axes: PlaneAxes, autosave: Path | None, left: Path | None = None
    ) -> SessionPlan:
        """The plan for an image layer."""
        from napari_iseg.widgets.scene_file import values_of

        order = [*axes.leading, axes.rows, axes.cols]
        shape = image_shape(image)
        names = [str(label) for label in image.axis_labels]
        if any(name.startswith("-") for name in names):  # napari's names for unnamed axes
            names = list(default_axes(len(names)))
        space = {
            "shape": [shape[axis] for axis in order],
            "axes": [names[axis] for axis in order],
            **whereabouts(image, axes),
        }
        data = list(image.data) if image.multiscale else image.data
        origin, values = Origin.of_layer(image), values_of(image)
        return cls(image.name, data, bool(image.rgb), axes, space, autosave, origin, left, values)

    def open(self, model: Model) -> Session:
        """The session; reads a bounded sample of the image. In the worker.

        Raises
        ------
        IsegError
            The image cannot be segmented, or the journal cannot be written.
        """
        from napari_iseg.interactive.session import Session
        from napari_iseg.labels.store import LabelStore

        if self.left is not None:
            try:
                return self.reopen(self.left, model)
            except InputError as error:  # moved away or damaged
                warn(
                    "The session of the labels beside the image cannot be gone on with, so a new one is "
                    f"begun and those labels stay as a layer. {error}"
                )
        session = Session(
            self.data,
            model,
            labels=LabelStore(**self.space),
            journal=self._journal(),
            image_path=self.origin.path or None,
            image_record=self.origin.record(),
            rgb=self.rgb,
            plane_axes=(self.axes.rows, self.axes.cols),
        )
        return self._knowing_gaps(session)

    def reopen(self, folder: Path, model: Model | None = None) -> Session:
        """An earlier session of the image; errors as of `Session.open`. In the worker."""
        from napari_iseg.interactive.session import Session

        axes = (self.axes.rows, self.axes.cols)
        session = Session.open(folder, self.data, model, rgb=self.rgb, plane_axes=axes)
        face(session, self.space["scale"])
        return self._knowing_gaps(session)

    def _knowing_gaps(self, session: Session) -> Session:
        """The session, before its first answer, told where the image has no values."""
        if self.values is not None and self.values.shape == session.source.shape:
            session.source.take_gaps_of(self.values)
        return session

    def _journal(self) -> Path | None:
        if self.autosave is None:
            return None
        made(self.autosave, "choose another autosave folder in Preferences > Plugins > napari-iseg")
        stem = re.sub(r"\W+", "-", self.name).strip("-")[:40] or "image"
        return self.autosave / f"{stem}-{datetime.now():%Y%m%d-%H%M%S-%f}.iseg"
