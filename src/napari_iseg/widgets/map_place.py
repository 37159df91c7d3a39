"""Whether the file of an image layer says where the layer's labels lie on the map."""

from __future__ import annotations

from pathlib import Path

import tifffile

from napari_iseg.errors import InputError
from napari_iseg.labels.export import export_labels
from napari_iseg.labels.georeference import geo_reference, is_geotiff
from napari_iseg.labels.store import LabelStore

LEFT_OUT = " It has no map coordinates: the layer has other rows and columns than its file, as after a crop."
GONE = " It has no map coordinates: the file of the layer is not where it was."


def export_beside(
    labels: LabelStore, path: Path, image: str | None, shape: tuple[int, ...], *, pieces: bool = False
) -> str:
    """Export the labels of a layer, on the map where its file says how, and what to tell the user besides.

    Parameters
    ----------
    path, pieces : see ``export_labels``
    image : the layer's file; None for a layer without one
    shape : of the layer, without its colour axis

    Raises
    ------
    InputError, SaveError
        See ``export_labels``.
    """
    gone = image is not None and not Path(image).exists()  # or an address of the web
    cropped = image is not None and not gone and len(shape) == 2 and _is_of_others(Path(image), shape)
    if cropped and image is not None and path.exists() and path.samefile(image):
        raise InputError(f"{path} is the image itself; choose another name for the labels.")
    export_labels(labels, path, like=None if cropped or gone else image, pieces=pieces)
    if path.suffix.lower() not in (".tif", ".tiff") or len(shape) > 2:
        return ""
    return LEFT_OUT if cropped else GONE if gone else ""


def _is_of_others(file: Path, shape: tuple[int, ...]) -> bool:
    """Whether a raster with map coordinates has other rows and columns."""
    if not is_geotiff(file):
        place = geo_reference(file, None, None)
        return place is not None and place.shape != shape
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        return (page.imagelength, page.imagewidth) != shape
