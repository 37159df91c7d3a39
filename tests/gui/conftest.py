"""Window tests need a display; without one they are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_iseg.cli.demo import why_no_window

from .fakes import FakeLoader
from .fewshot_bench import FewShotBench

NO_WINDOW = why_no_window()

if NO_WINDOW is None:
    import napari.settings

    from napari_iseg.widgets.click_dock import ClickDock
    from napari_iseg.widgets.preferences import Preferences


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what opens a window where there is no display, and what this napari has not."""
    if NO_WINDOW is None:
        if not hasattr(napari.settings, "get_plugin_settings"):
            old = pytest.mark.skip(reason="napari before 0.9 has no settings of plugins")
            for item in items:
                if "plugin_settings" in getattr(item, "fixturenames", ()):
                    item.add_marker(old)
        return
    here = Path(__file__).parent
    skip = pytest.mark.skip(reason=f"{NO_WINDOW}; run under xvfb-run -a -s '-screen 0 1280x1024x24'")
    for item in items:
        if here in item.path.parents:
            item.add_marker(skip)


class Bench:
    """A viewer with the dock, and short ways to use it."""

    def __init__(self, viewer: Any, qtbot: Any, folder: Path) -> None:
        self.viewer, self.qtbot, self.folder = viewer, qtbot, folder
        self.loader = FakeLoader()
        self.dock: ClickDock | None = None

    def open(self, **preferences: Any) -> ClickDock:
        """The dock, in the window."""
        settings = {"preload": False, "autosave_folder": self.folder} | preferences
        self.dock = ClickDock(self.viewer, loader=self.loader, preferences=Preferences(**settings))
        self.viewer.window.add_dock_widget(self.dock, name="Click segmentation")
        self.dock.controller.ready.points_now()
        return self.dock

    @property
    def editor(self) -> Any:
        """That of the chosen image."""
        assert self.dock is not None
        return self.dock.controller.editor

    def click(self, point: Any, positive: bool = True) -> None:
        """A click at a data position of the chosen image, answered before this returns."""
        assert self.dock is not None
        self.dock.controller.click_world(self.dock.controller.image.data_to_world(point), positive)
        self.settle()

    def do(self, name: str) -> None:
        """An action, finished before this returns."""
        assert self.dock is not None
        self.dock.controller.perform(name)
        self.settle()

    def rest(self) -> None:
        """`settle`, after what is done once napari has finished with its layers."""
        self.qtbot.wait(1)
        self.settle()

    def settle(self) -> None:
        """Wait until everything asked for is done."""
        assert self.dock is not None
        controller = self.dock.controller
        self.qtbot.waitUntil(
            lambda: not controller.worker.busy and (controller.editor is None or controller.editor.settled),
            timeout=60_000,
        )


@pytest.fixture
def bench(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> Iterator[Bench]:
    """A bench; its dock is shut down at the end and must leave no thread."""
    made = Bench(make_napari_viewer(), qtbot, tmp_path / "sessions")
    yield made
    if made.dock is not None:
        made.dock.shut_down()
        assert made.dock.controller.worker.join(10), "the worker thread did not end"
    hear_slices(made.viewer, qtbot)


def hear_slices(viewer: Any, qtbot: Any) -> None:
    """What napari has sliced in the background is heard now: a waiting call keeps a closed viewer alive."""
    slicer = viewer._layer_slicer
    if not slicer._force_sync:
        slicer._force_sync = True
        slicer.wait_until_idle(10)
        qtbot.wait(1)


@pytest.fixture
def fewshot(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> Iterator[FewShotBench]:
    """A bench of the few-shot dock, shut down like the other."""
    made = FewShotBench(make_napari_viewer(), qtbot, tmp_path)
    yield made
    made.dock.shut_down()
    assert made.dock.controller.worker.join(10), "the worker thread did not end"
