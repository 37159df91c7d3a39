"""The supports of a run as they were when it started, on disk, so that nobody can change them under it."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_iseg.disk_cache import read_npz
from napari_iseg.errors import InputError
from napari_iseg.fewshot.base import UNKNOWN, Labels, Position, Support
from napari_iseg.fewshot.frame import Plane
from napari_iseg.files import replacing
from napari_iseg.images import PlaneSource
from napari_iseg.prompts import Click, Window

# a key and a version, as SupportStore names its files
_NAME = re.compile(r"(?:scene|(\d+(?:,\d+)*))(?:@(\d+),(\d+))?-[0-9a-f]{16}\.npz")


@dataclass(frozen=True, slots=True)
class SupportRef:
    """Where a support lies and what it holds, without its pixels.

    Attributes
    ----------
    key : "12", "3,12", "scene", or with a tile "12@0,384"
    plane, window : where; ``position`` is the plane's, physical
    labels : painted or positively clicked here
    complete : every pixel of its window is known
    origin : "labelled" (by brush or committed), "clicked" or "accepted"
    version : of mask, clicks and image: changes if and only if one of them does
    background : whether any of it is known to be background, or drawn so by the model around clicks in paint
    missing : labels that are painted only where the image has no value, so that nothing is learnt of them
    clicks : how many count here
    lost : labels of the clicks where the image has no value, 0 for clicks on background
    """

    key: str
    plane: Plane
    window: Window
    position: Position
    labels: tuple[int, ...]
    complete: bool
    origin: str
    version: int
    background: bool = True
    missing: tuple[int, ...] = ()
    clicks: int = 0
    lost: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every pixel of its plane is known, so that the plane is never predicted."""
        return self.complete and "@" not in self.key

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return self.key.replace("scene@", "tile ").replace("@", ", tile ")

    @property
    def is_outlined(self) -> bool:
        """Whether it is a whole slice of a stack, whose outlines say where its labels may be on others."""
        return bool(self.position) and "@" not in self.key

    @property
    def learnt(self) -> tuple[int, ...]:
        """Ids that a model may learn here, 0 for background; none where the image has no value."""
        return (*((0,) if self.background else ()), *(i for i in self.labels if i not in self.missing))


@dataclass(frozen=True, slots=True)
class SupportFile:
    """A support that a run has kept, by the name of its file.

    Attributes
    ----------
    plane : where, and ``top`` and ``left`` of its window in pixels of the plane
    """

    file: Path
    plane: Plane
    top: int
    left: int

    def mask(self) -> Labels | None:
        """(rows, cols) int32 label ids, -1 where nothing is known; None when the file is damaged."""
        stored = read_npz(self.file, ("mask",))
        return None if stored is None else stored["mask"].astype(np.int32)


def kept_supports(run: Path) -> list[SupportFile]:
    """The supports in the folder of a run, all versions, by the time they were kept; reads no pixels.

    Raises
    ------
    OSError
        When the folder cannot be read; one that is not there holds none.
    """
    found = []
    for file in (run / "supports").glob("*.npz"):
        name = _NAME.fullmatch(file.name)
        if name is not None:
            plane = tuple(map(int, name[1].split(","))) if name[1] else ()
            kept = SupportFile(file, plane, int(name[2] or 0), int(name[3] or 0))
            found.append((file.stat().st_mtime_ns, file, kept))
    return [kept for _, _, kept in sorted(found, key=lambda each: each[:2])]


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A support as it was painted, and what a model may learn from; the same where there are values all over.

    What a pixel without a value looks like says nothing of objects or background.
    """

    painted: Support
    learnt: Support

    @classmethod
    def of(cls, support: Support, valid: npt.NDArray[np.bool_] | None) -> _Held:
        """Of a support whose image has values where ``valid`` says so; None: everywhere."""
        if valid is None:
            return cls(support, support)
        return cls(support, support.with_mask(np.where(valid, support.mask, np.int32(UNKNOWN))))

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        other = 0 if self.learnt is self.painted else self.learnt.mask.nbytes
        return self.painted.image.nbytes + self.painted.mask.nbytes + other


class SupportStore:
    """A folder with one file per support and version; those last asked for stay in memory too.

    Parameters
    ----------
    folder : made when the first support is kept
    limit : bytes of images and masks in memory; the newest is always kept
    """

    def __init__(self, folder: Path, limit: int = 0) -> None:
        self.folder, self.limit = folder, limit
        self._held: OrderedDict[tuple[str, int], _Held] = OrderedDict()

    def add(
        self,
        source: PlaneSource,
        plane: Plane,
        window: Window,
        position: Position,
        mask: Labels,
        clicks: Sequence[tuple[int, Click]] = (),
        *,
        accepted: bool = False,
        origin: str = "labelled",
    ) -> SupportRef:
        """Keep a support; a second call with the same content writes nothing.

        Parameters
        ----------
        source : the image
        mask : (rows, cols) int32 of ``window``; -1 where nothing is known
        clicks : (label, click) in pixels of the plane; those where the image has no value are left out
        """
        image, valid = source.look(window, plane)
        key = ",".join(map(str, plane)) or "scene"
        if window.shape != source.shape:
            key = f"{key}@{window.top},{window.left}"
        placed = [
            (int(label), Click(_plain(c.row - window.top), _plain(c.col - window.left), bool(c.positive)))
            for label, c in clicks
        ]
        own = tuple(
            (label, click)
            for label, click in placed
            if valid is None or valid[round(click.row), round(click.col)]
        )
        version = _version(image, valid, mask, own, accepted)
        support = Support(key, image, mask, own, position, accepted, version, "@" not in key)
        self._write(support, version)
        held = _Held.of(support, valid)
        self._hold(held)
        known = held.learnt.labels
        return SupportRef(
            key,
            plane,
            window,
            position,
            support.labels,
            bool((mask >= 0).all()),
            origin,
            version,
            background=bool((held.learnt.mask == 0).any())
            or any(support.is_painted or not click.positive for _, click in own),
            missing=tuple(label for label in support.labels if label not in known),
            clicks=len(own),
            lost=tuple(pair[0] if pair[1].positive else 0 for pair in placed if pair not in own),
        )

    def read(self, ref: SupportRef, source: PlaneSource | None) -> Support:
        """The support, for a model to learn from: unknown where the image has no value.

        Without a source its image may be black (for methods that look at masks only), and its mask is as it
        was painted.

        Raises
        ------
        InputError
            When its file is gone or damaged.
        """
        held = self._held.get((ref.key, ref.version))
        if held is not None and held.painted.position == ref.position:
            self._held.move_to_end((ref.key, ref.version))
            return held.painted if source is None else held.learnt
        stored = _load(self._path(ref.key, ref.version))
        if stored is None:
            raise InputError(
                f"The support {ref.key} is missing in {self.folder}; start the run again from its labels."
            )
        mask, owned, accepted = stored
        plane_sized = "@" not in ref.key
        if source is None:
            image = np.zeros((*mask.shape, 3), np.float32)
            return Support(ref.key, image, mask, owned, ref.position, accepted, ref.version, plane_sized)
        image, valid = source.look(ref.window, ref.plane)
        made = Support(ref.key, image, mask, owned, ref.position, accepted, ref.version, plane_sized)
        held = _Held.of(made, valid)
        self._hold(held)
        return held.learnt

    def _hold(self, held: _Held) -> None:
        """Keep a support in memory, and let go of those not asked for longest."""
        self._held[held.painted.key, held.painted.version] = held
        total = sum(each.nbytes for each in self._held.values())
        while total > self.limit and len(self._held) > 1:
            _, old = self._held.popitem(last=False)
            total -= old.nbytes

    def _write(self, support: Support, version: int) -> None:
        path = self._path(support.key, version)
        if _load(path) is not None:  # a power cut may have left a part of it
            return
        clicks = [(label, c.row, c.col, c.positive) for label, c in support.clicks]
        fix = "free some space or choose another output"
        with replacing(path, fix=fix) as file:
            np.savez_compressed(file, mask=support.mask, clicks=json.dumps(clicks), accepted=support.accepted)

    def _path(self, key: str, version: int) -> Path:
        return self.folder / f"{key}-{version:016x}.npz"


def _load(path: Path) -> tuple[Labels, tuple[tuple[int, Click], ...], bool] | None:
    """Mask, clicks and whether it was accepted; None where there is no file, or a damaged one."""
    stored = read_npz(path, ("mask", "clicks", "accepted"))
    if stored is None:
        return None
    clicks = tuple(
        (int(label), Click(row, col, bool(on))) for label, row, col, on in json.loads(str(stored["clicks"]))
    )
    return stored["mask"].astype(np.int32), clicks, bool(stored["accepted"])


def _plain(value: Any) -> Any:
    """A number without numpy's type, which JSON does not know."""
    return value.item() if isinstance(value, np.generic) else value


def _version(
    image: Any, valid: Any, mask: Labels, clicks: Sequence[tuple[int, Click]], accepted: bool
) -> int:
    """A number made from the content: equal content, equal version, also in another process."""
    digest = blake2b(digest_size=7)
    digest.update(np.ascontiguousarray(image).tobytes())
    digest.update(b"" if valid is None else np.packbits(valid).tobytes())
    digest.update(np.ascontiguousarray(mask, np.int32).tobytes())
    digest.update(repr([(label, c.row, c.col, c.positive) for label, c in clicks]).encode())
    digest.update(b"accepted" if accepted else b"")
    return int.from_bytes(digest.digest(), "big")
