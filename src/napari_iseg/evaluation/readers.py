"""What reads an annotated image when it is asked for: labels as ids, an image with its bands last, a part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.evaluation.files import read_tiff
from napari_iseg.evaluation.label_ids import as_ids, ignored_id, one_object

Array = npt.NDArray[Any]


def label_reader(
    read: Callable[[], Array],
    file: str,
    kind: str,
    components: bool,
    ignore: int | None,
    everywhere: Callable[[], Array] | None = None,
) -> Callable[[], Array]:
    """Reads labels as ids, or the ``components`` of instances; ``everywhere`` as in `as_ids`."""
    classes = kind == "semantic"

    def read_ids() -> Array:
        if kind == "binary":
            return one_object(read(), file, ignore)
        ids = as_ids(read(), file, classes=classes, ignore=ignore, everywhere=everywhere)
        return _parts(ids, ignored_id(ignore)) if components and not classes else ids

    return read_ids


def image_reader(path: Path, shape: tuple[int, ...]) -> Callable[[], Array]:
    """Reads one image and moves a leading band axis to the end."""

    def read() -> Array:
        image = read_tiff(path)
        if image.ndim == 3 and image.shape[:2] != shape and image.shape[1:] == shape:
            return np.moveaxis(image, 0, -1)
        return image

    return read


def cropped(read: Callable[[], Array], start: int, stop: int) -> Callable[[], Array]:
    """Reads the columns from ``start`` to ``stop`` of what ``read`` gives."""
    return lambda: read()[:, start:stop]


def _parts(labels: Array, ignored: int | None) -> Array:
    """Connected parts (8 neighbours) of equal label, numbered anew; what is ``ignored`` keeps its number."""
    from skimage.measure import label

    if ignored is None:
        return np.asarray(label(labels, background=0, connectivity=2))
    void = labels == ignored
    parts = np.asarray(label(np.where(void, 0, labels), background=0, connectivity=2))
    return np.where(void, ignored, parts + ((parts >= ignored) & (parts > 0)))
