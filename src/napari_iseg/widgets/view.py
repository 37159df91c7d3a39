"""What the controller tells the dock; it never asks it anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from napari_iseg.widgets.options import Options


class DockView(Protocol):
    """The dock as the controller sees it; tests may put a stand-in in its place."""

    def set_status(self, text: str) -> None:
        """The line that says what to do next."""

    def set_activity(self, text: str) -> None:
        """What is going on; empty when nothing is."""

    def set_positive(self, positive: bool) -> None:
        """Whether plain clicks are foreground clicks."""

    def set_possible(self, possible: dict[str, bool]) -> None:
        """Which actions make sense now."""

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """What the model in use takes: "click", "box"."""

    def set_label(self, label: int) -> None:
        """The label that the next commit writes."""

    def set_options(self, options: Options) -> None:
        """The options in use."""

    def set_model(self, name: str, device: str) -> None:
        """The model in use."""

    def show_images(self) -> None:
        """The list of images, with the one in use chosen."""

    def ask_for_folder(self, title: str, start: str, then: Callable[[Path], None]) -> None:
        """Ask for a folder that is there, without blocking; call ``then`` with the answer."""

    def ask_for_new_folder(self, title: str, suggestion: str, then: Callable[[Path], None]) -> None:
        """Ask for the name of a folder to make, without blocking; call ``then`` with the answer."""

    def ask_for_file(self, suggestion: str, then: Callable[[Path], None]) -> None:
        """Ask where to save, without blocking; call ``then`` with the answer."""
