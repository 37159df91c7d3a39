"""One thread at a time in a session, whoever calls it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Guarded(Protocol):
    """What has a lock of its own."""

    _lock: RLock


_S = TypeVar("_S", bound=Guarded)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def exclusive(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Let other threads wait while one is in the method, which may call others and be called by listeners.

    Events are emitted inside too: were they not, a listener in another thread could hold their lock and wait
    for this one.
    """

    @wraps(method)
    def alone(self: _S, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with self._lock:
            return method(self, *args, **options)

    return alone
