"""Large libraries are loaded without searches for garbage that would hold the window."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from napari_iseg.widgets.smooth_loading import no_collection

# Run by a Python of its own: how many objects set a full search off depends on how many there are already.
LOADING = """
import contextlib, gc, sys
from napari_iseg.widgets.smooth_loading import no_collection

searched = []
gc.collect()
gc.callbacks.append(lambda phase, info: searched.append(info["generation"]) if phase == "start" else None)
with no_collection() if sys.argv[1] == "smooth" else contextlib.nullcontext():
    loaded = [[number] for number in range(400_000)]  # as many objects as torch makes, and more
meanwhile = len(searched)
more = [[number] for number in range(20_000)]  # a few layers' worth
gc.callbacks.clear()
print(meanwhile, searched.count(2), gc.isenabled())
"""


class Ring:
    """Garbage that only a search finds."""

    def __init__(self) -> None:
        self.me = self


def searches(how: str) -> tuple[int, int, bool]:
    """Searches while many objects are made, full searches then and afterwards, and whether they go on."""
    ran = subprocess.run([sys.executable, "-c", LOADING, how], capture_output=True, text=True, check=True)
    meanwhile, full, enabled = ran.stdout.split()
    return int(meanwhile), int(full), enabled == "True"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="from Python 3.14 on a search is done in small steps")
def test_without_it_many_objects_are_searched():
    meanwhile, full, _ = searches("plainly")
    assert meanwhile
    assert full


def test_nothing_is_searched_while_libraries_are_loaded_nor_for_them_afterwards():
    assert searches("smooth") == (0, 0, True)


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
