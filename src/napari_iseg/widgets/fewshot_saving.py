"""Saving a few-shot result as a file of another kind or in another place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_iseg.fewshot.frame import Frame
from napari_iseg.labels.store import LabelStore
from napari_iseg.widgets.asking import OME_ZARR, TIFF, with_outlines
from napari_iseg.widgets.fewshot_request import space_of
from napari_iseg.widgets.fewshot_view import FewShotView
from napari_iseg.widgets.map_place import export_beside
from napari_iseg.widgets.reports import report
from napari_iseg.widgets.scene_file import ON_MAP
from napari_iseg.widgets.worker import Worker

if TYPE_CHECKING:
    from napari.layers import Image


def suggestion(image: Image) -> tuple[str, list[str]]:
    """Name and kinds of file for the result of an image."""
    return f"{image.name}_few-shot", with_outlines([OME_ZARR, TIFF], image)


def save(out: Path, path: Path, image: Image, frame: Frame, worker: Worker, view: FewShotView) -> None:
    """Write a result in the background, and say so.

    Parameters
    ----------
    out : the result
    path : of the file; its ending says of which kind
    image, frame : whose result it is; its scale and units may have been given after the run
    """
    space, file = space_of(image, frame), image.source.path
    turned = not np.allclose(image.affine.affine_matrix, np.eye(image.ndim + 1))
    turned = turned or not np.allclose(image.rotate, np.eye(image.ndim)) or bool(np.any(image.shear))
    on_map = image.metadata.get(ON_MAP) and path.suffix.lower() != ".zarr"  # what is turned on a map is there
    turned = turned and not on_map
    left_out = " The image's rotation or affine is not in it, only scale and position." if turned else ""

    def written() -> str:
        store = LabelStore.open(out)
        store.place(scale=space.scale, translate=space.translate, units=space.units)
        return f"Saved {path}.{left_out}{export_beside(store, path, file, frame.shape, pieces=True)}"

    def failed(error: Exception) -> None:
        view.set_status("Not saved.")
        report(error)

    view.set_status(f"Saving {path.name}…")
    worker.submit_task(
        lambda _stop: written(),
        view.set_status,
        failed,
    )
