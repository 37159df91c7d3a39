"""Large libraries are loaded without searches for garbage that would hold the window."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from napari_iseg.widgets.smooth_loading import no_collection

MANY = 400_000  # as many objects as torch makes, and more


class Ring:
    """Garbage that only a search finds."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def searches() -> Iterator[list[int]]:
    """The generations that were searched, one entry per search."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.collect()
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="from Python 3.14 on a search is done in small steps")
def test_without_it_many_objects_are_searched(searches):
    kept = [[number] for number in range(MANY)]
    assert 2 in searches
    assert len(kept) == MANY


def test_nothing_is_searched_while_libraries_are_loaded_nor_for_them_afterwards(searches):
    with no_collection():
        kept = [[number] for number in range(MANY)]
        assert not searches
    more = [[number] for number in range(20_000)]  # a few layers' worth
    assert 2 not in searches
    assert gc.isenabled()
    assert len(kept) + len(more) == MANY + 20_000


def test_garbage_from_before_and_from_meanwhile_can_still_be_collected():
    before = Ring()
    gone = [weakref.ref(before)]
    with no_collection():
        meanwhile = Ring()
        gone.append(weakref.ref(meanwhile))
    del before, meanwhile
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_it_leaves_things_as_they_were():
    gc.disable()
    try:
        with no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with no_collection():
            pass
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()


def test_an_error_and_a_second_thread_leave_it_on():
    with pytest.raises(ImportError), no_collection():
        raise ImportError
    assert gc.isenabled()
    first, second = no_collection(), no_collection()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert gc.isenabled()
