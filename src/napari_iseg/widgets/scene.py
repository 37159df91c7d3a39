"""Questions about the viewer: what plane is shown, where a click landed, what is visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.prompts import Window
from napari_iseg.widgets.placement import PlaneAxes

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer


OUTPUT = "napari-iseg output"  # key of the metadata of layers that are a dock's own, of no use to another


def pictures(viewer: napari.Viewer) -> list[Image]:
    """The image layers that objects can be found in, bottom first."""
    from napari.layers import Image

    return [layer for layer in viewer.layers if isinstance(layer, Image) and OUTPUT not in layer.metadata]


def shown_axes(viewer: napari.Viewer, image: Image) -> PlaneAxes:
    """The image's axes that the viewer displays, whatever order it has been given.

    Raises
    ------
    InputError
        In 3D display and in a grid, when the viewer shows an axis that the image does not have, and when the
        image is turned or sheared out of its planes.
    """
    if viewer.dims.ndisplay != 2:
        raise InputError(
            "Clicking works on planes: switch the viewer back to 2D (the cube button, or Ctrl+Y)."
        )
    if grid_of(viewer).enabled:
        raise InputError(
            "Clicking works on one picture: switch the grid off (the button with four squares, or Ctrl+G)."
        )
    if image.ndim < 2:
        raise InputError(
            f"The layer {image.name!r} has one axis only; choose an image with rows and columns."
        )
    extra = viewer.dims.ndim - image.ndim  # a layer's axes are the viewer's last ones
    rows, cols = sorted(axis - extra for axis in viewer.dims.displayed)
    if rows < 0:
        raise InputError(
            f"The layer {image.name!r} lacks an axis that is displayed; roll or transpose the axes back "
            "until its rows and columns show."
        )
    axes = PlaneAxes(image.ndim, rows, cols)
    if _leaves_its_planes(image, axes):
        raise InputError(
            f"The layer {image.name!r} is turned or sheared out of its planes, and napari shows such planes "
            "elsewhere than they lie; resample the image so, or set its affine, rotate and shear back."
        )
    return axes


def to_world(viewer: napari.Viewer, layer: Layer, point: Sequence[float]) -> npt.NDArray[np.float64]:
    """A data position (a value per axis of the layer) in the viewer's world, that of sliders and mouse."""
    return np.asarray(layer.data_to_world(point), float) * _world_units(viewer, layer)


def to_data(viewer: napari.Viewer, layer: Layer, position: Sequence[float]) -> npt.NDArray[np.float64]:
    """A position in the viewer's world (a value per axis of the viewer) in the layer's data."""
    own = np.zeros(layer.ndim)  # a layer's axes are the viewer's last ones
    last = np.asarray(position, float)[-layer.ndim :]
    own[layer.ndim - len(last) :] = last
    return np.asarray(layer.world_to_data(own / _world_units(viewer, layer)), float)


def _world_units(viewer: napari.Viewer, layer: Layer) -> npt.NDArray[np.float64]:
    """What one unit of each axis of a layer is in the viewer's units: 1000 where it has um and another nm.

    napari (0.9) draws all layers in the smallest unit of each kind, and its sliders and mouse positions are
    in that. A layer's own `data_to_world` and `world_to_data` know only of the layer's.
    """
    shared: tuple[Any, ...] | None = getattr(viewer.layers.extent, "units", None)
    if shared is None or len(shared) < layer.ndim:  # kinds of units that do not go together: each has its own
        return np.ones(layer.ndim)
    here, own = tuple(shared[-layer.ndim :]), tuple(layer.units)
    if here == own:
        return np.ones(layer.ndim)
    import pint

    in_base = pint.get_application_registry().get_base_units
    return np.asarray([in_base(mine)[0] / in_base(unit)[0] for mine, unit in zip(own, here, strict=True)])


def grid_of(viewer: napari.Viewer) -> Any:
    """The tiles that napari can show layers in, one in each."""
    return (viewer.canvas if hasattr(viewer, "canvas") else viewer).grid  # napari before 0.9


def _leaves_its_planes(image: Image, axes: PlaneAxes) -> bool:
    """Whether the transform mixes the plane's axes with others, by more than half a pixel from end to end."""
    origin = np.asarray(image.data_to_world((0,) * image.ndim), float)
    ends = [image.data_to_world(end) for end in np.diag(image_shape(image))]
    reach = np.abs(np.asarray(ends, float) - origin).T  # of each data axis (column), in world units
    mixed = reach > 0.5 * (np.diag(reach) / image_shape(image))[:, None]
    inside, across = [axes.rows, axes.cols], list(axes.leading)
    return bool(mixed[np.ix_(inside, across)].any() or mixed[np.ix_(across, inside)].any())


def show_axes(viewer: napari.Viewer, image: Image, axes: PlaneAxes) -> None:
    """Have the viewer display these axes of an image."""
    viewer.dims.ndisplay = 2
    extra = viewer.dims.ndim - image.ndim
    shown = (axes.rows + extra, axes.cols + extra)
    if not shows_axes(viewer, image, axes):
        others = tuple(axis for axis in range(viewer.dims.ndim) if axis not in shown)
        viewer.dims.order = (*others, *shown)


def shows_axes(viewer: napari.Viewer, image: Image, axes: PlaneAxes) -> bool:
    """Whether the viewer displays these axes of an image, in 2D."""
    extra = viewer.dims.ndim - image.ndim  # a layer's axes are the viewer's last ones
    return sorted(viewer.dims.displayed) == [axes.rows + extra, axes.cols + extra]


def go_to(viewer: napari.Viewer, image: Image, axes: PlaneAxes, plane: Sequence[int]) -> None:
    """Have the sliders show a plane of an image."""
    point = to_world(viewer, image, axes.join(plane, 0.0, 0.0))
    extra = viewer.dims.ndim - image.ndim
    for axis in axes.leading:
        viewer.dims.set_point(axis + extra, point[axis])


def look_at(
    viewer: napari.Viewer, image: Image, axes: PlaneAxes, plane: Sequence[int], window: Window
) -> None:
    """Move the camera so that a window of a plane fills most of the canvas."""
    first = to_world(viewer, image, axes.join(plane, window.top, window.left))
    last = to_world(viewer, image, axes.join(plane, window.bottom - 1, window.right - 1))
    scenery = viewer.scene if hasattr(viewer, "scene") else viewer  # napari before 0.9
    shown = [axis - (viewer.dims.ndim - image.ndim) for axis in viewer.dims.displayed]
    scenery.camera.center = tuple(((first + last) / 2)[shown])
    sides = np.abs(last - first)[shown]
    scenery.camera.zoom = float(0.8 * np.min(view_size(viewer) / np.maximum(sides, 1e-9)))


def image_shape(image: Image) -> tuple[int, ...]:
    """Sizes of the full-resolution image without its colour axis."""
    shape = tuple(int(size) for size in (image.data[0] if image.multiscale else image.data).shape)
    return shape[:-1] if image.rgb else shape


def locate(
    viewer: napari.Viewer, image: Image, axes: PlaneAxes, position: Sequence[float]
) -> tuple[tuple[int, ...], float, float] | None:
    """A world position as (plane, row, col) in data pixels of level 0; None when it is outside the image."""
    point = to_data(viewer, image, position)
    shape = np.asarray(image_shape(image))
    if not np.isfinite(point).all() or (np.rint(point) < 0).any() or (np.rint(point) >= shape).any():
        return None
    plane, (row, col) = axes.split(point)
    return plane, row, col


def shown_plane(viewer: napari.Viewer, image: Image, axes: PlaneAxes) -> tuple[int, ...] | None:
    """The plane index that the sliders show; None where the image has no plane."""
    point = to_data(viewer, image, viewer.dims.point)
    shape = image_shape(image)
    plane = tuple(int(np.rint(point[axis])) for axis in axes.leading)
    inside = all(0 <= index < shape[axis] for index, axis in zip(plane, axes.leading, strict=True))
    return plane if inside else None


def view_size(viewer: napari.Viewer) -> npt.NDArray[np.float64]:
    """Height and width of what shows an image, in pixels of the screen: the canvas, or a tile of its grid."""
    if not hasattr(viewer, "canvas"):  # napari before 0.9
        whole, tiles = viewer._canvas_size, viewer.grid.actual_shape(len(viewer.layers))
        return np.asarray(whole, float) / tiles
    size, grid = np.asarray(viewer.canvas.size, float), viewer.canvas.grid
    tiles = np.asarray(grid.actual_shape(viewer.layers), float)  # one where there is no grid
    gap = grid.spacing if grid.spacing >= 1 else grid.spacing * float(np.mean(size / tiles))
    return np.asarray((size - (tiles - 1) * int(gap)) / tiles)


def visible_window(image: Image, axes: PlaneAxes, viewer: napari.Viewer) -> Window | None:
    """The pixels (of level 0) of the plane that the canvas shows, those cut by its border included.

    napari's ``corner_pixels`` would not do: they tell what was read, which is whole chunks, and more where
    the picture was zoomed out before.

    Parameters
    ----------
    image, axes : the plane; where the image is turned, the rectangle around what is seen
    viewer : that shows it

    Returns
    -------
    Window or None
        None where next to nothing of the image is seen, as in 3D display or along other axes.
    """
    if viewer.dims.ndisplay != 2 or image not in viewer.layers:
        return None
    camera = (viewer.scene if hasattr(viewer, "scene") else viewer).camera  # napari before 0.9
    corners = np.tile(np.asarray(viewer.dims.point, float), (4, 1))
    reach = np.asarray([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * view_size(viewer) / (2 * camera.zoom)
    corners[:, list(viewer.dims.displayed)] = np.asarray(camera.center, float)[-2:] + reach
    seen = np.asarray([to_data(viewer, image, corner) for corner in corners])[:, [axes.rows, axes.cols]]
    seen += 0.5  # pixel centres are at integers in napari, a window counts from the edges of pixels
    size = np.asarray(image_shape(image))[[axes.rows, axes.cols]]
    top, left = (int(edge) for edge in np.clip(np.floor(seen.min(0)), 0, size))
    bottom, right = (int(edge) for edge in np.clip(np.ceil(seen.max(0)), 0, size))
    if bottom - top < 2 or right - left < 2:
        return None
    return Window(top, left, bottom, right)
