"""What a run has found so far: its layer in the viewer, and the trust of every slice or tile."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_iseg.errors import InputError
from napari_iseg.fewshot.collect import Clicks
from napari_iseg.fewshot.control import Written
from napari_iseg.fewshot.decisions import Decisions
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.fewshot.kept_clicks import keep_clicks, kept_clicks
from napari_iseg.fewshot.output import Output
from napari_iseg.fewshot.preparing import Prepared, run_folder
from napari_iseg.fewshot.suggest import Suggestion, suggest
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window
from napari_iseg.widgets.fewshot_outputs import made_from
from napari_iseg.widgets.layer_list import remove
from napari_iseg.widgets.placement import PLACING, Placement, put
from napari_iseg.widgets.read_only import read_only
from napari_iseg.widgets.reports import warn
from napari_iseg.widgets.trust_strip import REJECTED, SUPPORT

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

RESULT = "napari-iseg few-shot result"  # in a layer's metadata: the path of the output it shows, and its id


def is_result(layer: Layer) -> bool:
    """Whether a layer is one of ours that show a result; a copy has the metadata too, but is the user's."""
    return bool(layer.metadata.get(RESULT, ())[1:] == [str(layer.unique_id)])


def lock_copy(layer: Layer) -> None:
    """Say it where a copy of a result comes: it shows the same files, which no brush can write to."""
    if RESULT in layer.metadata and not is_result(layer):
        layer.editable = False
        warn(
            f"{layer.name!r} shows the files of the result and cannot be painted in: save it by File > Save "
            "Selected Layers, open that file, and paint there."
        )


def earlier_clicks(path: Path) -> Clicks | None:
    """The clicks of the result that lies at a path; None where there is no result."""
    return kept_clicks(run_folder(path)) if path.exists() else None


def settle_clicks(path: Path, given: Clicks, shown_anew: bool) -> Clicks:
    """Keep the clicks that a result is made with, unless it is shown anew without any and has its own.

    Returns
    -------
    its own then, which are to be brought back; else none
    """
    kept = kept_clicks(run_folder(path)) if shown_anew else {}
    if not kept:
        keep_clicks(run_folder(path), given)
    return kept


class Results:
    """Layer and trust of one output, and what the user has said of it.

    Parameters
    ----------
    viewer, image : where the layer is added, and above what
    frame, grid, output : of the run
    labels : name of the labels layer that it is made from

    Attributes
    ----------
    decisions : accepted and rejected planes; kept with the run
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        image: Image,
        frame: Frame,
        grid: Grid,
        output: Output,
        labels: str | None = None,
    ) -> None:
        self.frame, self.grid, self.output = frame, grid, output
        self.decisions = Decisions(run_folder(output.path))
        self._viewer, self._image = viewer, image
        self._trust: dict[Plane, npt.NDArray[np.float64]] = {}
        self._stale = False
        self._in_part = False  # whether the run left out pixels of the slices that it wrote
        self._prepared: Prepared | None = None
        self.layer = layer_of(viewer, image, output.path, output.store, labels)
        for name in PLACING:
            getattr(image.events, name).connect(self._follow)

    @classmethod
    def of(cls, viewer: napari.Viewer, image: Image, prepared: Prepared) -> Results | None:
        """That of a run that has begun; None where it was given up meanwhile, and its files with it."""
        plan, output = prepared.plan, prepared.output
        try:
            return cls(viewer, image, plan.frame, plan.grid, output, made_from(output.path))
        except OSError:
            if not prepared.room.given_up:
                raise
            return None

    def leave_if_gone(self) -> bool:
        """Take the layer away of a run that was given up before it had found anything; whether it was."""
        gone = self._prepared is not None and self._prepared.room.given_up
        if gone:
            remove(self._viewer, self.layer)
        return gone

    def use(self, prepared: Prepared) -> None:
        """Take over what an earlier run has found and is still valid."""
        self._prepared = prepared
        self.decisions = Decisions(run_folder(self.output.path))  # they went if the result was made anew
        first = [unit for unit in prepared.plan.blocks if unit.plane == prepared.plan.blocks[0].plane]
        self._in_part = any(prepared.plan.inside(unit) is not None for unit in first)
        self._trust.clear()
        for unit in prepared.plan.blocks:
            job = prepared.plan.jobs[unit.name]
            result = prepared.record.result(job)
            digest = prepared.plan.block_digest(unit)
            if result is not None and prepared.record.is_written(unit.name, digest):
                self._set(unit.plane, unit.row, unit.col, SUPPORT if job.fixed else result.trust)
        for plane in self.decisions.rejected & set(self._trust):
            self._trust[plane][...] = REJECTED

    def add(self, written: Written, shown: Plane) -> None:
        """A block was written."""
        row = self.grid.borders(0).index(written.window.top)
        col = self.grid.borders(1).index(written.window.left)
        if written.plane in self.decisions.rejected:
            self.decisions.forget(written.plane)
        self._set(written.plane, row, col, SUPPORT if written.annotated else written.trust)
        self._stale = True
        if written.plane == shown:
            self.refresh()

    def refresh(self) -> None:
        """Draw the layer anew."""
        self._stale = False
        if self.layer in self._viewer.layers:
            self.layer.refresh()

    def put_aside(self) -> None:
        """Its image has other pixels: what was found in those of before stays in its layer, out of sight."""
        self.layer.visible = False

    def next(self, without: Collection[Plane] = ()) -> Suggestion | None:
        """Where an annotation would help most, by what is known now; None where nothing is.

        Parameters
        ----------
        without : planes of a stack that are annotated since; those that were decided on are left out too
        """
        if self._prepared is None:
            return None
        done = {*self.decisions.rejected, *self.decisions.accepted, *without}
        if self.frame.slicing is None:
            done = set()  # a scene is one plane: its tiles are kept apart by their distance
        return suggest(self._prepared.plan, self._prepared.record, done)

    @property
    def has_next(self) -> bool:
        """Whether anything is predicted that was not decided on; quickly told."""
        decided = self.decisions.accepted | self.decisions.rejected
        return any(
            plane not in decided and bool(((cells >= 0) & (cells <= 1)).any())
            for plane, cells in self._trust.items()
        )

    def refresh_if_stale(self) -> None:
        """Draw the layer anew if something was written since."""
        if self._stale:
            self.refresh()

    def is_predicted(self, plane: Plane) -> bool:
        """Whether the whole plane is there and is no annotation."""
        if self.frame.slicing is None:
            return False  # a scene is corrected tile by tile, by annotating
        cells = self._trust.get(plane)
        return cells is not None and not np.isnan(cells).any() and not (cells == SUPPORT).all()

    def is_accepted(self, plane: Plane) -> bool:
        """Whether the user has called a plane right."""
        return plane in self.decisions.accepted

    def can_reject(self, plane: Plane) -> bool:
        """Whether there is something of a plane to take back."""
        return self.is_predicted(plane) or self.is_accepted(plane)

    def accept(self, plane: Plane) -> None:
        """Take a predicted plane for an annotation.

        Raises
        ------
        InputError
            When there is no result of the whole plane: the rest would count as background.
        SaveError
            When that cannot be written.
        """
        self._check_there()
        if self._in_part:
            raise InputError(
                "The last run of this slice was inside the polygons only; accepted, all that was never run "
                "on it would be background. Run it whole (Region: whole image), or paint or click on it."
            )
        self.decisions.accept(plane)

    def take_back(self, plane: Plane) -> None:
        """Accept a plane no more; InputError and SaveError as above."""
        self._check_there()
        self.decisions.forget(plane)

    def reject(self, plane: Plane) -> None:
        """Empty a plane of the output and mark it; InputError and SaveError as above."""
        self._check_there()
        self.decisions.reject(plane)  # first: a plane that is empty without a word would be a hole
        for row, col in self.grid.tiles():
            core = self.grid.core(row, col)
            self.output.write(plane, core, np.zeros(core.shape, np.uint32))
            self._set(plane, row, col, REJECTED)
        self.refresh()

    def cells(self, shown: Plane) -> tuple[npt.NDArray[np.float64], tuple[int, int]]:
        """Cells of the strip, and which of them is in view: slices of a stack, tiles of a scene."""
        if self.frame.slicing is None:
            cells = self._trust.get((), np.full(self.grid.count, np.nan))
            return cells, (-1, -1)
        place, size = self.frame.place, self.frame.shape[self.frame.slicing]
        line = np.full((1, size), np.nan)
        for plane, cells in self._trust.items():
            same = not shown or all(
                a == b for i, (a, b) in enumerate(zip(plane, shown, strict=True)) if i != place
            )
            if same and not np.isnan(cells).all():
                line[0, plane[place]] = float(np.nanmin(cells))
        return line, (0, shown[place] if shown else -1)

    def place_of_cell(self, row: int, col: int, shown: Plane) -> tuple[Plane, Window | None]:
        """What a cell of the strip stands for: a plane, or a window of a scene."""
        if self.frame.slicing is None:
            return (), self.grid.core(row, col)
        base = shown or (0,) * len(self.frame.leading_shape)
        place = self.frame.place
        return (*base[:place], col, *base[place + 1 :]), None

    def _check_there(self) -> None:
        """What is said of a result that was deleted would be lost with the next run."""
        if not (self.output.path.exists() and run_folder(self.output.path).exists()):
            raise InputError("The result was deleted; Run makes it anew.")

    def _follow(self, _event: object = None) -> None:
        """The layer lies where its image lies, also where that is said late."""
        if self.layer in self._viewer.layers:
            put(self.layer, Placement.of(self._image).whole())

    def _set(self, plane: Plane, row: int, col: int, value: float) -> None:
        cells = self._trust.setdefault(plane, np.full(self.grid.count, np.nan))
        cells[row, col] = value


def layer_of(
    viewer: napari.Viewer, image: Image, path: Path, store: LabelStore, labels: str | None
) -> Labels:
    """The layer that shows a result, added above its image unless it is there.

    Parameters
    ----------
    path, store : of the result
    labels : name of the labels layer that it is made from
    """
    from napari.layers import Labels

    for there in viewer.layers:  # left by a dock that was closed
        if is_result(there) and there.metadata[RESULT][0] == str(path):
            put(there, Placement.of(image).whole())
            there.refresh()
            return there
    levels, name = read_only(store.levels), f"{image.name} few-shot"
    if labels is not None and name in viewer.layers:
        name = f"{name} of {labels}"
    layer = Labels(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        name=name,
        opacity=0.5,
        **Placement.of(image).whole(),
    )
    layer.metadata[RESULT] = [str(path), str(layer.unique_id)]
    layer.editable = False  # a result is corrected by annotating: nothing is lost when it is renewed
    active = viewer.layers.selection.active
    viewer.add_layer(layer)
    if active is not None:  # the user goes on in the layer they are in
        viewer.layers.selection.active = active
    return layer
