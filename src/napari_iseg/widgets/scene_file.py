"""File > IO Utilities > Open a scene: a GeoTIFF or JPEG 2000 in its own colours and coordinates.

Not a reader: napari would then ask at every TIFF of any kind who is to read it.
"""

# Annotations stay objects here: magicgui cannot resolve them as text.
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from magicgui import magic_factory
from napari.layers._source import layer_source  # no public way to say where a layer came from
from napari.utils.notifications import show_error

from napari_iseg.errors import InputError, IsegError
from napari_iseg.files import local_path
from napari_iseg.widgets.reports import warn
from napari_iseg.widgets.scene import pictures

ON_MAP = "napari-iseg on a map"  # key of the metadata of a layer
READER = "napari-iseg scene"  # recorded with the bands as what read a layer, so that a session finds it again

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_iseg.images import PlaneSource


def add_scene(viewer: napari.Viewer, path: Path, bands: tuple[int, ...] | None = None) -> "Image":
    """Add a scene as a multiscale colour picture; only what is on the screen is read.

    A map's rows go south: the view is turned so that north is up, and coordinates are the map's, also of a
    raster that is turned against north. Pictures without a map stand upside down then, which is said.

    Parameters
    ----------
    bands : shown as red, green and blue, counted from 0; None: as the file names them, or the first three

    Raises
    ------
    InputError
        See `napari_iseg.images.scene.open_scene`.
    """
    from napari_iseg.images.scene import open_scene

    scene = open_scene(path, bands)
    camera = (viewer.scene if hasattr(viewer, "scene") else viewer).camera  # napari before 0.9
    before = pictures(viewer) if camera.orientation2d[0] != "up" else []
    if scene.on_map:
        camera.orientation2d = ("up", "right")
    shown = ",".join(str(band + 1) for band in scene.bands)
    with layer_source(path=str(path), reader_plugin=f"{READER} {shown}"):
        layer: Image = viewer.add_image(
            scene.levels if len(scene.levels) > 1 else scene.levels[0],
            multiscale=len(scene.levels) > 1,
            rgb=True,
            name=path.stem,
            scale=scene.scale,
            translate=scene.translate,
            affine=None if scene.affine is None else np.asarray(scene.affine),
            units=None if scene.unit is None else (scene.unit, scene.unit),
            axis_labels=("y", "x"),
            metadata={READER: scene.levels[0].name, ON_MAP: scene.on_map},
        )
    if camera.orientation2d[0] == "up":
        _tell_turned([*before, layer])
    return layer


def _tell_turned(layers: "list[Image]") -> None:
    """Say which pictures stand upside down where north is up: their rows go down, and they are on no map."""
    names = [each.name for each in layers if not each.metadata.get(ON_MAP) and each.scale[-2] > 0]
    if names:
        warn(
            f"Upside down beside a map, whose north is up: {', '.join(names)}. What has no map coordinates "
            "is upright in a window of its own."
        )


def values_of(layer: "Image") -> "PlaneSource | None":
    """The pixels of a scene layer as its file holds them, not stretched to 8 bits; None for other layers."""
    from napari_iseg.images.scene import open_scene

    reader, path = layer.source.reader_plugin or "", layer.source.path
    first = layer.data[0] if layer.multiscale else layer.data
    if layer.metadata.get(READER) != getattr(first, "name", "") or path is None:  # or other pixels since
        return None
    try:
        return open_scene(Path(path), read_bands(reader.removeprefix(READER))).source
    except InputError:  # moved meanwhile: the layer still shows it
        return None


def read_bands(text: str) -> tuple[int, ...] | None:
    """ "3,2,1", counted from 1, as (2, 1, 0); None for an empty text.

    Raises
    ------
    InputError
        For anything else.
    """
    if not text.strip():
        return None
    try:
        return tuple(int(part) - 1 for part in text.split(","))
    except ValueError:
        raise InputError(f"Bands are numbers from 1 on, as in 3,2,1; got {text!r}.") from None


def _stay_small(form: Any) -> None:
    """Leave the height of the window's side to the dock that objects are clicked with."""
    form.native.setMaximumHeight(form.native.sizeHint().height())


@magic_factory(
    widget_init=_stay_small,
    call_button="Open",
    persist=False,
    scene={"mode": "r", "filter": "*.tif *.tiff *.jp2 *.vrt *.TIF *.TIFF *.JP2 *.VRT"},
    bands={"tooltip": "Shown as red, green and blue, from 1 on, as in 3,2,1. Empty: what the file says."},
)
def scene_opener(viewer: napari.Viewer, scene: Path = Path(), bands: str = "") -> None:
    """Open a GeoTIFF, a JPEG 2000, or any other large picture."""
    if scene == Path():
        show_error("Choose a file first.")
        return
    try:
        add_scene(viewer, Path(local_path(str(scene))), read_bands(bands))
    except IsegError as error:
        show_error(str(error))
