"""Docks of ours on one side are tabs; all other docks stay where they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QLabel

from .conftest import NO_WINDOW
from .fakes import FakeLoader

if NO_WINDOW is None:
    from napari_iseg.widgets.click_dock import ClickDock
    from napari_iseg.widgets.fewshot_dock import FewShotDock
    from napari_iseg.widgets.preferences import Preferences
    from napari_iseg.widgets.session_reader import click_dock


class Side:
    """A shown window, and what is put into it."""

    def __init__(self, viewer: Any, qtbot: Any, folder: Path) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.preferences = Preferences(preload=False, autosave_folder=folder)
        self.made: list[Any] = []

    def click(self, **where: Any) -> Any:
        """A click dock."""
        return self.add(ClickDock(self.viewer, loader=FakeLoader(), preferences=self.preferences), **where)

    def fewshot(self, **where: Any) -> Any:
        """A few-shot dock."""
        return self.add(FewShotDock(self.viewer, models={"grey": ""}, preferences=self.preferences), **where)

    def add(self, widget: Any, **where: Any) -> Any:
        """A widget in its dock, after what is done once it is there."""
        self.made.append(widget)
        dock = self.viewer.window.add_dock_widget(widget, name=f"dock {len(self.made)}", **where)
        self.qtbot.wait(50)
        return dock

    def with_it(self, dock: Any) -> list[Any]:
        """The docks that are tabs beside this one."""
        return self.viewer.window._qt_window.tabifiedDockWidgets(dock)

    def is_seen(self, dock: Any) -> bool:
        """Whether it is in front."""
        return not dock.widget().visibleRegion().isEmpty()


@pytest.fixture
def side(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> Iterator[Side]:
    made = Side(make_napari_viewer(show=True), qtbot, tmp_path)
    yield made
    for widget in made.made:
        if not isinstance(widget, QLabel):
            widget.shut_down()
            assert widget.controller.worker.join(10), "the worker thread did not end"


def test_the_second_dock_is_a_tab_in_front_and_napari_keeps_its_docks(side):
    label = side.add(QLabel("of another plugin"), area="right")
    fewshot = side.fewshot()
    click = side.click()
    assert side.with_it(click) == [fewshot]
    assert side.is_seen(click)
    assert not side.is_seen(fewshot)
    fewshot.raise_()
    side.qtbot.waitUntil(lambda: side.is_seen(fewshot))
    for dock in (label, side.viewer.window._qt_viewer.dockLayerList):
        assert side.with_it(dock) == []
        assert side.is_seen(dock)


def test_more_of_one_kind_are_tabs_too(side):
    first, second, third = side.click(), side.click(), side.fewshot()
    assert set(side.with_it(third)) == {first, second}
    assert side.is_seen(third)


def test_what_floats_is_hidden_or_lies_elsewhere_stays_alone(side):
    floating = side.fewshot()
    floating.setFloating(True)
    left = side.fewshot(area="left")
    hidden = side.fewshot()
    hidden.close()
    click = side.click()
    for dock in (floating, left, hidden, click):
        assert side.with_it(dock) == []
    assert floating.isFloating()
    assert hidden.isHidden()
    assert side.is_seen(click)


def test_the_other_tab_stays_when_one_is_closed_and_takes_the_next_one(side):
    fewshot, click = side.fewshot(), side.click()
    click.destroyOnClose()
    side.qtbot.waitUntil(lambda: side.is_seen(fewshot))
    assert side.made[1].controller.closed
    assert not side.made[0].controller.closed
    again = side.click()
    assert side.with_it(again) == [fewshot]
    again.setFloating(True)
    side.qtbot.waitUntil(lambda: side.is_seen(fewshot))
    assert not side.made[2].controller.closed


def test_a_dock_that_is_closed_at_once_takes_no_place(side):
    fewshot = side.fewshot()
    click = ClickDock(side.viewer, loader=FakeLoader(), preferences=side.preferences)
    side.viewer.window.add_dock_widget(click)
    side.viewer.window.remove_dock_widget(click)
    side.qtbot.wait(50)
    assert side.with_it(fewshot) == []
    assert click.controller.worker.join(10)


def test_a_session_is_opened_in_front(side):
    behind = side.click()
    side.fewshot()
    assert not side.is_seen(behind)
    assert click_dock(side.viewer) is behind.widget()
    side.qtbot.wait(50)
    assert side.is_seen(behind)
