"""Where the result of an image lies: the same image and labels find it again, also after a restart."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_iseg.fewshot.frame import Frame
from napari_iseg.fewshot.preparing import run_folder
from napari_iseg.files import made, write_text
from napari_iseg.images import PlaneSource
from napari_iseg.images.damage import unless_damaged
from napari_iseg.images.sampling import sample_places
from napari_iseg.prompts import Window

if TYPE_CHECKING:
    from napari.layers import Labels

_BANDS = 3  # of what a source gives
_LONGEST = 40  # bytes of a layer's name in a file's
# in a run's folder: the name of the labels layer that it was made from, and whether nothing was painted there
_FILE = "labels.json"


def digests_of(source: PlaneSource, frame: Frame, tile: int) -> tuple[str, str]:
    """What the results of an image are found by, and what they were named by before that.

    Parameters
    ----------
    source : the image; a sample of its pixels is read, so call this outside the GUI thread. What is damaged
        of it counts as such: mended, it is another image.
    """
    planes = int(np.prod(source.leading_shape, dtype=np.int64))

    def digest_of(places: Iterable[tuple[int, Window]]) -> str:
        digest = blake2b(digest_size=6)
        digest.update(repr((frame.shape, frame.slicing, tile)).encode())
        for number, window in places:
            plane = tuple(int(i) for i in np.unravel_index(number, source.leading_shape))
            pixels = unless_damaged(partial(source.read, window, plane))
            digest.update(b"damaged" if pixels is None else pixels.tobytes())
        return digest.hexdigest()

    return digest_of(sample_places(source.shape, planes, _BANDS)), digest_of(_middles(source.shape, planes))


class Whose(NamedTuple):
    """For which labels a result is looked for.

    Attributes
    ----------
    labels : name of the chosen labels layer, None without one
    there : names of all labels layers in the viewer
    shown : the result that is shown, which goes on when no labels are chosen
    agree : whether a result, of which it is given the run's folder, was made from the chosen labels; None
        where that cannot be told, or without labels
    """

    labels: str | None
    there: frozenset[str] = frozenset()
    shown: Path | None = None
    agree: Callable[[Path], bool | None] | None = None


class Known:
    """The results that there are of an image, by the names of the labels that they were made from.

    Parameters
    ----------
    folder : of all results
    digests : of the image, as of ``digests_of``
    """

    def __init__(self, folder: Path, digests: tuple[str, str]) -> None:
        self.digests = digests
        self._paths: dict[str | None, Path] = {}  # None: from clicks alone, or before names were noted
        for digest in digests[::-1]:  # of two with the same name that of now, which got the name last
            found = sorted(folder.glob(f"*-{digest}.zarr"), key=lambda path: (_noted_at(path), path))
            self._paths.update({made_from(path): path for path in found})

    def of(self, whose: Whose) -> Path | None:
        """The result that goes on with these labels.

        The one of their name; else one of no name, as who began with clicks may go on by painting; else the
        only one, unless its labels are there too (two labels layers never share a result), or are others:
        what was accepted of one class would be background of another. Whether they are is read from them.
        """
        if whose.labels is None and whose.shown in self._paths.values():
            return whose.shown
        for name in (whose.labels, None):
            if name in self._paths:
                return self._paths[name]
        if len(self._paths) != 1:
            return None
        ((name, only),) = self._paths.items()
        if whose.labels is None or (name not in whose.there and not is_of_others(only, whose)):
            return only
        return None

    def named(self, labels: str) -> Path | None:
        """The one that was made from labels of this name."""
        return self._paths.get(labels)

    def besides(self, path: Path) -> list[str]:
        """The names of labels that have other results than this."""
        return sorted(str(name) for name, other in self._paths.items() if other != path and name is not None)

    def meant(self, whose: Whose) -> list[str]:
        """The names of labels whose results may be meant where none goes on."""
        if self.of(whose) is not None:
            return []
        return sorted(map(str, self._paths.keys() - (whose.there if whose.labels is not None else set())))


def output_path(
    folder: Path,
    name: str,
    digests: tuple[str, str],
    labels: str | None,
    there: frozenset[str] = frozenset(),
    shown: Path | None = None,
    agree: Callable[[Path], bool | None] | None = None,
) -> Path:
    """The OME-Zarr group for an image, slicing axis and tile, and the labels it is made from.

    Parameters
    ----------
    folder : of all results
    name : of the image layer; makes the file's name readable, and another name finds the result too
    labels, there, shown, agree : as of ``Whose``
    """
    found = Known(folder, digests).of(Whose(labels, there, shown, agree))
    if found is not None:
        return found
    image, layer = _readable(name) or "image", _readable(labels or "") or "labels"
    stems = chain((image, f"{image}-{layer}"), (f"{image}-{layer}-{number}" for number in count(2)))
    paths = (folder / f"{stem}-{digests[0]}.zarr" for stem in stems)
    return next(path for path in paths if not path.exists())  # those that do are of other labels


class Made:
    """The results of this session by the labels layers that they were made from.

    Each result has its layer's name on disk with it, where it is changed when the layer is renamed; but no
    two of an image get the same name, by which only one would be found again.
    """

    def __init__(self) -> None:
        self._paths: weakref.WeakKeyDictionary[Labels, dict[Path, tuple[str, str]]]
        self._paths = weakref.WeakKeyDictionary()  # with the digests of their images

    def keep(
        self,
        path: Path,
        digests: tuple[str, str],
        labels: Labels | None,
        name: str | None,
        painted: bool = True,
    ) -> None:
        """A result is made from a labels layer.

        Parameters
        ----------
        labels, name : the layer, and its name then; without one the result keeps the name that it has, as
            what was accepted is of those labels
        painted : whether anything was painted there

        Raises
        ------
        SaveError
            As of ``write_text``.
        """
        if labels is not None:
            for others in self._paths.values():
                others.pop(path, None)
            self._paths.setdefault(labels, {})[path] = digests
        name = made_from(path) if labels is None else name
        if name is not None:
            _note(path, name, painted)

    def follow_names(self) -> list[tuple[str, str]]:
        """Layers may have other names; SaveError as above.

        Returns
        -------
        list of (name of a result, new name of its layer)
            Where an earlier result has the new name: the layer goes on with that one, and its own stays as it
            is.
        """
        left = []
        for labels, paths in self._paths.items():
            new = str(labels.name)
            for path, digests in list(paths.items()):
                old = made_from(path)
                if old in (None, new) or Known(path.parent, digests).named(new) is None:
                    _note(path, new, _was_painted(path))
                else:
                    del paths[path]
                    left.append((str(old), new))
        return left


def _note(path: Path, labels: str, painted: bool = True) -> None:
    now = {"labels": labels} if painted else {"labels": labels, "painted": False}
    if _noted(path) != now and run_folder(path).is_dir():  # or it was deleted
        write_text(run_folder(path) / _FILE, json.dumps(now))


def _noted(path: Path) -> dict[str, Any]:
    """What is noted of the labels of a result; nothing where that cannot be read."""
    try:
        noted = json.loads((run_folder(path) / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _noted_at(path: Path) -> int:
    try:
        return (run_folder(path) / _FILE).stat().st_mtime_ns
    except OSError:
        return 0


def made_from(path: Path) -> str | None:
    """The name of the labels layer that the result at ``path`` was made from; None where there is none."""
    name = _noted(path).get("labels")
    return name if isinstance(name, str) else None


def labels_needed(path: Path) -> str | None:
    """The name of the labels without which the result at ``path`` cannot go on.

    What was painted there is no annotation any more without them, and would be predicted over. None where
    nothing was, as by clicks alone.
    """
    return made_from(path) if _was_painted(path) else None


def _was_painted(path: Path) -> bool:
    """Whether the last run of a result took anything painted; counts so where that was not noted yet."""
    return _noted(path).get("painted") is not False


def is_of_others(path: Path, whose: Whose) -> bool:
    """Whether the result at ``path`` was made from other labels than the chosen ones; reads both."""
    return whose.agree is not None and _was_painted(path) and whose.agree(run_folder(path)) is False


def _readable(name: str) -> str:
    """A name as part of a file's, of which a file system takes some 255 bytes, or 143."""
    return re.sub(r"\W+", "-", name).strip("-").encode()[:_LONGEST].decode(errors="ignore")


def _middles(shape: tuple[int, int], planes: int) -> Iterator[tuple[int, Window]]:
    """What results were named by before they were named by pixels of the whole image."""
    rows, cols = shape
    top, left = max(0, (rows - 64) // 2), max(0, (cols - 64) // 2)
    for number in sorted({int(i) for i in np.linspace(0, planes - 1, 5)}):
        yield number, Window(top, left, min(rows, top + 64), min(cols, left + 64))


def make_folder(folder: Path) -> None:
    """Make the folder of all results; SaveError when that cannot be done."""
    made(folder, "choose another autosave folder in Preferences > Plugins > napari-iseg")
