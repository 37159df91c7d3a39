"""What the few-shot controller tells its dock, and the settings, which are all that it asks it for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_iseg.fewshot.collect import Clicks
from napari_iseg.widgets.fewshot_run import SupportRow

HOW = (
    "Annotate one to a few slices (any labels layer, or points on the objects), press Run: the others are "
    "segmented, nearest first."
)


@dataclass(frozen=True)
class FewShotSettings:
    """What the user has set.

    Attributes
    ----------
    model, device : name of a few-shot model, and where it runs
    axis : slicing axis of the image; None for a 2-D one
    tile : side of a window in pixels
    region : "whole", "visible" or "range"
    area : a Shapes layer whose polygons are the region instead
    first, last : slices of the range, both included
    sequential : carry the answer from slice to slice
    partial : unlabelled pixels of annotated slices are unknown
    complete_in : a Shapes layer inside whose polygons they are background all the same
    """

    model: str
    device: str = "auto"
    axis: int | None = None
    tile: int = 512
    region: str = "whole"
    area: Any = None
    first: int = 0
    last: int = 0
    sequential: bool = False
    partial: bool = False
    complete_in: Any = None


class FewShotView(Protocol):
    """The dock as the controller sees it."""

    @property
    def settings(self) -> FewShotSettings:
        """What is set now."""

    def set_status(self, text: str) -> None:
        """The line that says what to do next."""

    def replace_status(self, before: str, text: str) -> None:
        """Another such line, unless something else than ``before`` stands there by now."""

    def set_running(self, running: bool, paused: bool) -> None:
        """Whether something runs, or waits."""

    def set_progress(self, done: int, total: int, left: str) -> None:
        """How far it is, and the time left in words."""

    def show_supports(self, rows: list[SupportRow]) -> None:
        """The list of supports."""

    def list_axes(self) -> None:
        """List the axes and slices of the image anew, which may have other sizes."""

    def offer_clicks(self, path: Path, clicks: Clicks) -> None:
        """Bring back the clicks of the result at ``path``, unless those of a result are chosen already."""

    def leave_clicks(self) -> None:
        """Choose no clicks; their layer stays in the viewer."""

    def show_trust(self, values: npt.NDArray[np.float64], current: tuple[int, int]) -> None:
        """The strip of slices or tiles."""

    def set_possible(self, accept: bool, reject: bool, suggestion: bool, save: bool) -> None:
        """Whether the slice in view can be accepted, or rejected, there is a next one, a result to save."""
