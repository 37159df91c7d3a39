"""Opening napari ready to click: for `napari-iseg demo` and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.samples import Sample
from napari_iseg.widgets import scene

if TYPE_CHECKING:
    import napari


def open_demo(
    sample: Sample | str = "cells",
    *,
    model: str | None = None,
    device: str | None = None,
    point: tuple[float, ...] | None = None,
    viewer: napari.Viewer | None = None,
    block: bool = True,
) -> napari.Viewer:
    """Open napari with a picture, the dock, and one object clicked.

    The click goes the way of a user's click: its answer arrives once napari's event loop runs.

    Parameters
    ----------
    sample : the picture, or the name of one
    model : name of a model on this machine, or a checkpoint file; default: the starter model
    device : "auto", "cpu", "cuda" or "mps"; default: as set in napari's preferences
    point : where to click, in data pixels; default: an object of the sample's true labels, or the middle
    viewer : default: a new one
    block : run napari's event loop and return when the window is closed

    Raises
    ------
    InputError
        There is no such sample, or ``model`` is not on this machine.
    """
    import napari

    from napari_iseg.samples import sample as read_sample
    from napari_iseg.widgets.click_dock import ClickDock

    picture = read_sample(sample) if isinstance(sample, str) else sample
    viewer = viewer if viewer is not None else napari.Viewer(title="napari-iseg")
    image = viewer.add_image(
        picture.image, name=picture.name, rgb=picture.rgb, scale=picture.scale, units=picture.units
    )
    dock = ClickDock(viewer)
    viewer.window.add_dock_widget(dock, name="Click segmentation", area="right")
    dock.controller.ready.points_now()
    if not dock.use_model(model, device):
        known = ", ".join(card.name for card in dock.models.local_cards) or "none"
        viewer.close()
        raise InputError(
            f"The model {model or 'asked for'} is not on this machine (there are: {known}); "
            "`napari-iseg models list` shows how to get others."
        )
    where = point if point is not None else good_point(picture)
    position = scene.to_world(viewer, image, where)
    for axis, at in enumerate(position[:-2]):
        viewer.dims.set_point(axis, at)
    dock.controller.click_world(position, True)
    if block:
        napari.run()
    return viewer


def good_point(sample: Sample) -> tuple[float, ...]:
    """A place worth a click, where labels are known: inside the object nearest to the middle of the picture.

    One that stands alone is preferred to those of a crowd; of a stack the middle plane is taken.
    """
    shape = sample.image.shape[:-1] if sample.rgb else sample.image.shape
    middle = [size // 2 for size in shape]
    if sample.labels is None:
        return tuple(float(value) for value in middle)
    from scipy import ndimage

    plane = sample.labels[tuple(middle[:-2])]
    if not plane.any():
        return tuple(float(value) for value in middle)
    rows, cols = np.nonzero(_alone(plane))
    nearest = int(np.argmin((rows - middle[-2]) ** 2 + (cols - middle[-1]) ** 2))
    inside = np.pad(plane == plane[rows[nearest], cols[nearest]], 1)
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    row, col = np.unravel_index(int(depth.argmax()), depth.shape)
    return (*(float(value) for value in middle[:-2]), float(row), float(col))


def _alone(plane: npt.NDArray[np.uint16], gap: int = 5) -> npt.NDArray[np.uint16]:
    """The labels that have no other within ``gap`` pixels; all of them where there is none such."""
    from scipy import ndimage

    first = np.where(plane > 0, plane, plane.max())
    highest = ndimage.maximum_filter(plane, 2 * gap + 1)
    lowest = ndimage.minimum_filter(first, 2 * gap + 1)
    crowd = np.unique(plane[(plane > 0) & ((highest != plane) | (lowest != plane))])
    alone = np.where(np.isin(plane, crowd), 0, plane)
    return alone if alone.any() else plane
