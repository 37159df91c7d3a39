"""Where the result of an image lies: the same image finds the same result again, also after a restart."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

import numpy as np

from napari_iseg.errors import SaveError
from napari_iseg.fewshot.frame import Frame
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Window

_PLANES = 5  # looked at
_SIDE = 64  # pixels of each


def output_path(folder: Path, name: str, source: PlaneSource, frame: Frame, tile: int) -> Path:
    """The OME-Zarr group for an image, slicing axis and tile.

    Parameters
    ----------
    folder : of all results
    name : of the image layer; makes the file's name readable
    source : the image; some of its pixels are read, so call this outside the GUI thread
    """
    digest = blake2b(digest_size=6)
    digest.update(repr((frame.shape, frame.slicing, tile)).encode())
    count = int(np.prod(source.leading_shape, dtype=np.int64))
    chosen = sorted({int(i) for i in np.linspace(0, count - 1, _PLANES)})
    rows, cols = source.shape
    top, left = max(0, (rows - _SIDE) // 2), max(0, (cols - _SIDE) // 2)
    window = Window(top, left, min(rows, top + _SIDE), min(cols, left + _SIDE))
    for number in chosen:
        plane = tuple(int(i) for i in np.unravel_index(number, source.leading_shape))
        digest.update(source.read(window, plane).tobytes())
    stem = re.sub(r"\W+", "-", name).strip("-")[:40] or "image"
    return folder / f"{stem}-{digest.hexdigest()}.zarr"


def make_folder(folder: Path) -> None:
    """Make the folder of all results.

    Raises
    ------
    SaveError
        When that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"The folder {folder} cannot be made ({error.strerror or error}); choose another autosave folder "
            "in Preferences > Plugins > napari-iseg."
        ) from error
