"""Where the result of an image lies: the same image finds the same result again, also after a restart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from napari_iseg.errors import SaveError
from napari_iseg.fewshot.frame import Frame
from napari_iseg.images import PlaneSource
from napari_iseg.images.sampling import sample_places
from napari_iseg.prompts import Window

_BANDS = 3  # of what a source gives


def output_path(folder: Path, name: str, source: PlaneSource, frame: Frame, tile: int) -> Path:
    """The OME-Zarr group for an image, slicing axis and tile.

    Parameters
    ----------
    folder : of all results
    name : of the image layer; makes the file's name readable, and another name finds the result too
    source : the image; a sample of its pixels is read, so call this outside the GUI thread
    """
    count = int(np.prod(source.leading_shape, dtype=np.int64))
    stem = re.sub(r"\W+", "-", name).strip("-")[:40] or "image"

    def named(places: Iterable[tuple[int, Window]]) -> Path:
        digest = blake2b(digest_size=6)
        digest.update(repr((frame.shape, frame.slicing, tile)).encode())
        for number, window in places:
            plane = tuple(int(i) for i in np.unravel_index(number, source.leading_shape))
            digest.update(source.read(window, plane).tobytes())
        known = sorted(folder.glob(f"*-{digest.hexdigest()}.zarr"))
        return known[0] if known else folder / f"{stem}-{digest.hexdigest()}.zarr"

    path = named(sample_places(source.shape, count, _BANDS))
    if path.exists():
        return path
    earlier = named(_middles(source.shape, count))
    return earlier if earlier.exists() else path


def _middles(shape: tuple[int, int], planes: int) -> Iterator[tuple[int, Window]]:
    """What results were named by before they were named by pixels of the whole image."""
    rows, cols = shape
    top, left = max(0, (rows - 64) // 2), max(0, (cols - 64) // 2)
    for number in sorted({int(i) for i in np.linspace(0, planes - 1, 5)}):
        yield number, Window(top, left, min(rows, top + 64), min(cols, left + 64))


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
