"""Embeddings of pictures, kept under a limit of memory and, if wanted, on disk."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from napari_iseg.disk_cache import DiskCache
from napari_iseg.own_lock import OwnLock

MEMORY = 256 * 2**20  # bytes; an embedding of the published SAM has 4 MiB


class EmbeddingCache:
    """The least recently used embeddings are dropped above ``memory`` bytes; the newest always stays.

    Keys name a picture by its content (`content_key`), so equal windows of reopened images are found again.
    May be used from several threads. A copy or a pickle holds nothing in memory.

    Attributes
    ----------
    memory : bytes
    disk : where embeddings are kept between sessions too; None for memory only
    owner : of whose embeddings those on disk are (`identity`), so that networks share a folder
    """

    def __init__(self, memory: int = MEMORY, disk: DiskCache | None = None, owner: str = "") -> None:
        self.memory = memory
        self.disk = disk
        self.owner = owner
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = OwnLock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict(), "_bytes": 0}

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return self._bytes

    def get(self, key: str) -> Tensor | None:
        """The embedding, from memory or from disk; None when it is not there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        arrays = None if self.disk is None else self.disk.get(self.owner + key)
        if arrays is None:
            return None
        read = torch.from_numpy(arrays["embedding"])
        self._keep(key, read)
        return read

    def put(self, key: str, embedding: Tensor) -> None:
        """Keep an embedding.

        Raises
        ------
        SaveError
            When the folder on disk cannot be written; it is kept in memory nevertheless.
        """
        self._keep(key, embedding)
        if self.disk is not None:
            self.disk.put(self.owner + key, {"embedding": embedding.float().cpu().numpy()})

    def _keep(self, key: str, embedding: Tensor) -> None:
        with self._lock:
            known = self._kept.pop(key, None)
            self._bytes += _size(embedding) - (_size(known) if known is not None else 0)
            self._kept[key] = embedding
            while self._bytes > self.memory and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._bytes -= _size(old)


def content_key(picture: Tensor) -> str:
    """A name of a picture (B, C, H, W) by shape and content."""
    pixels = picture.detach().cpu().contiguous().numpy()
    digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.data)
    return digest.hexdigest()


def identity(net: nn.Module, precision: str) -> str:
    """A name of a network by its weights, and of how it computes: whose embeddings are of use to it."""
    digest = hashlib.blake2b(digest_size=12)
    for key, value in net.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().data)
    return f"{digest.hexdigest()}-{precision}"


def _size(embedding: Tensor) -> int:
    return embedding.numel() * embedding.element_size()
