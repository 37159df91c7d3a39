"""A lock for objects that are copied and pickled."""

from __future__ import annotations

from threading import Lock


class OwnLock:
    """A lock for a ``with`` block; deep copies and pickles of what holds it get one of their own."""

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[OwnLock], tuple[()]]:
        return OwnLock, ()
