"""Embeddings of pictures, kept under a limit of memory and, if wanted, on disk."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from napari_iseg.errors import SaveError

MEMORY = 256 * 2**20  # bytes; an embedding of the published SAM has 4 MiB


class EmbeddingCache:
    """The least recently used embeddings are dropped above ``memory`` bytes; the newest always stays.

    Keys name a picture by its content (`content_key`), so equal windows of reopened images are found again.
    May be used from several threads.

    Parameters
    ----------
    memory : bytes
    folder : where embeddings of this network are kept between sessions too, one file each; None for memory
        only
    """

    def __init__(self, memory: int = MEMORY, folder: Path | None = None) -> None:
        self.memory = memory
        self.folder = folder
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return self._bytes

    def get(self, key: str) -> Tensor | None:
        """The embedding, from memory or from ``folder``; None when it is not there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            found = torch.from_numpy(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return None  # damaged: it is computed and written anew
        self._keep(key, found)
        return found

    def put(self, key: str, embedding: Tensor) -> None:
        """Keep an embedding.

        Raises
        ------
        SaveError
            When ``folder`` cannot be written.
        """
        self._keep(key, embedding)
        path = self._path(key)
        if path is None or path.exists():
            return
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.save(file, embedding.float().cpu().numpy())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise SaveError(
                f"The image embedding could not be kept in {path.parent} ({error.strerror or error}); "
                "make space or choose another folder."
            ) from error

    def _keep(self, key: str, embedding: Tensor) -> None:
        with self._lock:
            known = self._kept.pop(key, None)
            self._bytes += _size(embedding) - (_size(known) if known is not None else 0)
            self._kept[key] = embedding
            while self._bytes > self.memory and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._bytes -= _size(old)

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}.npy"


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
