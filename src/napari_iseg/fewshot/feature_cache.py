"""Encoded images, kept by content as long as a number of bytes allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

import numpy as np

from napari_iseg.fewshot.base import Features, Image


class FeatureCache:
    """Least recently used encodings go first. Safe to use from several threads.

    Parameters
    ----------
    limit : bytes; an encoding larger than that is not kept at all
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self.hits = 0
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, identity: str, image: Image, encode: Callable[[Image], Features]) -> Features:
        """The encoding of an image by the model of this identity, made if it is not here."""
        key = content_key(identity, image)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.hits += 1
                return self._kept[key]
        made = encode(image)
        with self._lock:
            if key not in self._kept and made.nbytes <= self.limit:
                self._kept[key] = made
                self.nbytes += made.nbytes
                while self.nbytes > self.limit:
                    _, old = self._kept.popitem(last=False)
                    self.nbytes -= old.nbytes
        return made


def content_key(identity: str, image: Image) -> str:
    """A key made from the pixels: the same tile read again, or another file with the same content, is one."""
    digest = blake2b(digest_size=16)
    digest.update(identity.encode())
    digest.update(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
