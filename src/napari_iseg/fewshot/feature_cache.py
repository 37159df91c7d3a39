"""Encoded images, kept by content as long as a number of bytes allows: in memory, and on disk if wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from napari_iseg.disk_cache import DiskCache
from napari_iseg.errors import SaveError
from napari_iseg.fewshot.base import Features, Image
from napari_iseg.own_lock import OwnLock

Arrays = Mapping[str, npt.NDArray[Any]]


class Encoder(Protocol):
    """What the cache needs of a `FewShotModel`."""

    identity: str

    def encode(self, image: Image) -> Features:
        """See `FewShotModel.encode`."""


@runtime_checkable
class Storable(Protocol):
    """A model whose encodings may be kept on disk.

    Attributes
    ----------
    encoding : of everything that the bits of an encoding depend on: weights, device, threads
    """

    encoding: str

    def pack(self, features: Features) -> Arrays:
        """An encoding as arrays."""

    def unpack(self, arrays: Arrays) -> Features:
        """The encoding that `pack` was given, bit by bit."""


class FeatureCache:
    """Least recently used encodings go first. Safe to use from several threads.

    A copy or a pickle holds nothing in memory.

    Parameters
    ----------
    limit : bytes of memory; an encoding larger than that is not kept there
    disk : a second level, perhaps shared with other processes; None: memory only. Answers are the same bits
        with and without it. Where it cannot be written it is given up: a cache must not end a run.
    """

    def __init__(self, limit: int, disk: DiskCache | None = None) -> None:
        self.limit, self.disk = limit, disk
        self.nbytes = 0
        self.hits = 0
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._lock = OwnLock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict(), "nbytes": 0, "hits": 0}

    def get(self, model: Encoder, image: Image) -> Features:
        """The encoding of an image by a model, made if it is not here."""
        content = content_key(image)
        key = f"{model.identity}:{content}"
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.hits += 1
                return self._kept[key]
        made = self._stored(model, content) if isinstance(model, Storable) else None
        if made is None:
            made = model.encode(image)
            self._store(model, content, made)
        with self._lock:
            if key not in self._kept and made.nbytes <= self.limit:
                self._kept[key] = made
                self.nbytes += made.nbytes
                while self.nbytes > self.limit:
                    _, old = self._kept.popitem(last=False)
                    self.nbytes -= old.nbytes
        return made

    def _stored(self, model: Storable, content: str) -> Features | None:
        arrays = self.disk.get(_file_key(model, content)) if self.disk is not None else None
        return model.unpack(arrays) if arrays is not None else None

    def _store(self, model: Encoder, content: str, made: Features) -> None:
        if self.disk is None or not isinstance(model, Storable):
            return
        try:
            self.disk.put(_file_key(model, content), model.pack(made))
        except SaveError:
            self.disk = None


def content_key(image: Image) -> str:
    """A key made from the pixels: the same tile read again, or another file with the same content, is one."""
    digest = blake2b(digest_size=16)
    digest.update(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _file_key(model: Storable, content: str) -> str:
    return f"{blake2b(model.encoding.encode(), digest_size=8).hexdigest()}-{content}"
