"""What is done while something slow runs is carried out in its turn, whatever becomes of that."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from napari.utils.notifications import notification_manager

from napari_iseg.errors import SaveError
from napari_iseg.interactive import session_copy
from napari_iseg.widgets import guidance, map_place

from .conftest import Bench
from .test_meanwhile import THICK, left
from .test_nothing_unsaid import IMAGE, STACK, begun, close, committed
from .test_one_writer import FromFile


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    notification_manager.records.clear()


def slowly(*_args: Any, **_options: Any) -> None:
    time.sleep(0.3)
    raise SaveError("disk full")


def names(bench: Bench) -> list[str]:
    return [layer.name for layer in bench.viewer.layers]


def test_a_save_that_fails_takes_nothing_along(bench: Bench, tmp_path: Path, monkeypatch: Any) -> None:
    dock = begun(bench, STACK)
    bench.viewer.dims.set_point(0, 0)
    committed(bench, (0, 30, 30))
    bench.click((0, 90, 90))
    monkeypatch.setattr(session_copy, "copy_session", slowly)
    dock.controller.files.save(bench.editor, tmp_path / "new.iseg")
    bench.qtbot.wait(50)
    dock.controller.perform("commit")
    bench.viewer.dims.set_point(0, 1)
    dock.controller.click_world((1, 60, 30), True)
    bench.rest()
    session = bench.editor.session
    assert session.objects == {1: ((0,),), 2: ((0,),)}
    assert session.plane == (1,)
    assert len(session.clicks) == 1
    bench.do("commit")
    assert session.objects[3] == ((1,),)


def test_an_export_that_fails_takes_no_click_along(bench: Bench, tmp_path: Path, monkeypatch: Any) -> None:
    dock = begun(bench)
    committed(bench, (30, 30))
    monkeypatch.setattr(map_place, "export_beside", slowly)
    monkeypatch.setattr(dock, "ask_for_file", lambda _name, then: then(tmp_path / "x.tif"))
    dock.controller.perform("save")
    bench.qtbot.wait(50)
    dock.controller.click_world((60, 30), True)
    bench.rest()
    assert len(bench.editor.session.clicks) == 1


def test_a_session_is_gone_on_with_though_what_was_asked_before_fails(bench: Bench, monkeypatch: Any) -> None:
    def fail(*_args: Any) -> None:
        time.sleep(0.5)
        raise RuntimeError("CUDA out of memory")

    begun(bench)
    committed(bench, (30, 30))
    folder = left(bench, beside=False)
    dock = bench.open()
    bench.rest()
    bench.click((60, 60))
    dock.controller.files.open(folder)
    bench.qtbot.wait(30)
    dock.controller.click_world((90, 60), True)
    with monkeypatch.context() as failing:
        failing.setattr(type(bench.loader.net), "forward", fail)
        bench.rest()
        bench.qtbot.wait(300)
        bench.rest()
    assert bench.editor.session.folder == folder
    assert not dock.controller.files.opening


def test_a_session_that_waits_for_its_turn_is_opened_once(bench: Bench) -> None:
    begun(bench)
    committed(bench, (30, 30))
    folder = left(bench, beside=False)
    dock = bench.open()
    bench.rest()
    bench.click((60, 60))
    bench.loader.net.seconds = 1.2
    dock.controller.files.open(folder)
    bench.qtbot.wait(30)
    dock.controller.click_world((90, 60), True)
    bench.qtbot.wait(800)  # it is read by now, and the answer is not there
    dock.controller.files.open(folder)
    assert "being opened already" in dock.status.text()
    bench.rest()
    bench.loader.net.seconds = 0
    bench.rest()
    bench.click((100, 100))
    bench.do("commit")
    assert bench.editor.session.folder == folder
    assert 2 in bench.editor.session.objects


def test_a_commit_is_shown_though_another_image_is_chosen_meanwhile(bench: Bench) -> None:
    bench.viewer.add_image(IMAGE[::-1], name="other")
    dock = begun(bench)
    dock.controller.choose_image(bench.viewer.layers["cells"])
    bench.click((30, 30))
    dock.controller.perform("commit")
    dock.controller.choose_image(bench.viewer.layers["other"])
    bench.rest()
    assert "cells objects" in names(bench)
    close(bench)
    assert "cells objects" in names(bench)


@pytest.mark.parametrize("first", ["reset", "undo"])
def test_a_session_that_begins_without_a_click_is_on_the_plane_that_is_shown(
    bench: Bench, first: str
) -> None:
    dock = begun(bench, THICK)
    bench.viewer.dims.set_point(0, 20)
    bench.do(first)
    bench.rest()
    assert bench.viewer.dims.point[0] == 20
    dock.controller.choose_label(7)
    bench.settle()
    bench.click((20, 60, 60))
    bench.do("commit")
    assert bench.editor.session.objects == {7: ((20,),)}


def test_objects_open_on_other_planes_are_named_beside_a_reopened_one(bench: Bench) -> None:
    begun(bench, THICK)
    for plane in (3, 5):
        bench.viewer.dims.set_point(0, plane)
        committed(bench, (plane, 30, 30))
        bench.click((plane, 90, 60))
    bench.viewer.dims.set_point(0, 3)
    bench.settle()
    bench.do("reset")
    bench.do("pick")
    bench.click((3, 30, 30))
    words = guidance.not_saved(bench.editor.session)
    assert "Object 1 is open and not in it" in words
    assert "An object on plane 5 is open and not in it" in words


def test_a_model_is_found_by_its_name_before_a_file_of_that_stem(bench: Bench, tmp_path: Path) -> None:
    class Noting(FromFile):
        def load(self, key: Any) -> Any:
            self.asked = key.name
            return super().load(key)

    file = tmp_path / "disks.pth"
    file.write_bytes(b"w")
    dock = begun(bench, loader=Noting())
    committed(bench, (30, 30))
    folder = bench.editor.session.folder
    close(bench)
    bench.viewer.layers.remove("cells objects")
    dock = bench.open()
    bench.rest()
    dock.use_model(str(file))
    bench.settle()
    dock.controller.files.open(folder)
    bench.rest()
    assert bench.loader.asked == "disks"
