"""Session: clicks to mask to committed object, with undo, on any image, without a GUI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_iseg.errors import InputError
from napari_iseg.interactive.committing import claim
from napari_iseg.interactive.edge_job import EdgeJob, EdgeResult, as_refiner
from napari_iseg.interactive.edges import Refiner
from napari_iseg.interactive.engine import MakePredictor, default_predictor
from napari_iseg.interactive.exclusive import exclusive
from napari_iseg.interactive.objects import Event
from napari_iseg.interactive.points import checked_index, checked_window, locate, locate_box
from napari_iseg.interactive.predictor import check_takes_boxes
from napari_iseg.interactive.session_setup import new_setup, old_setup
from napari_iseg.interactive.session_state import SessionState
from napari_iseg.labels.checks import checked_label, checked_mask
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.regions import Region, tiles_of
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Box, Click, Coordinates, Edges, Window

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model

CACHE_BYTES = 128 * 2**20  # states kept for undo: about 32 areas of 1024 x 1024


class Session(SessionState):
    """Objects of one image, each made by clicks.

    Every plane has its own open object: a click in another plane leaves the object there as it is, and goes
    on with the one of that plane. Undo follows the order in which things were done, whatever the plane, and
    goes back to that plane. Clicks, boxes, moves, removals, resets, label choices, commits, deletions,
    refinements and reopenings can be undone without limit; threshold, model and the plane shown are settings
    and are not undone.

    Parameters
    ----------
    image : array_like or PlaneSource
        (Y, X), (Y, X, C), (Z, Y, X), ... ; see ``PlaneSource.wrap``.
    model
        None: nothing is predicted until ``model`` is set.
    labels
        Where commits go, shape (plane axes..., Y, X). In memory by default, in the session's folder with
        ``journal``.
    journal
        Folder of a new session: everything is recorded there before it takes effect; see ``Session.open``.
    image_path
        Where the image can be found again, for the record.
    image_record
        What else a program wants to know of the image when the session is opened again; kept in session.toml.
    make_predictor
        Another predictor than ``interactive.predictor.Predictor``.
    cache_bytes
        Bytes of states kept for a fast undo.
    **wrap_options
        rgb, plane_axes, channel_axis, bands of ``PlaneSource.wrap``.

    Raises
    ------
    InputError
        For an image or labels that do not fit, or a folder that holds a session.
    SaveError
        When the folder cannot be written.
    """

    def __init__(
        self,
        image: Any,
        model: Model | None = None,
        *,
        labels: LabelStore | None = None,
        journal: str | Path | None = None,
        image_path: str | Path | None = None,
        image_record: Mapping[str, Any] | None = None,
        make_predictor: MakePredictor = default_predictor,
        cache_bytes: int = CACHE_BYTES,
        **wrap_options: Any,
    ) -> None:
        folder = Path(journal) if journal is not None else None
        record = {**(image_record or {}), "path": None if image_path is None else str(image_path)}
        setup = new_setup(image, labels, folder, record, wrap_options)
        super().__init__(setup, model, make_predictor, cache_bytes)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        image: Any,
        model: Model | None = None,
        *,
        make_predictor: MakePredictor = default_predictor,
        cache_bytes: int = CACHE_BYTES,
        **wrap_options: Any,
    ) -> Session:
        """An earlier session as it was after its last whole record, with its whole undo history.

        The labels are brought to what the journal says. Masks of open objects are recomputed from their
        clicks when asked for: with the model of the session the bits are the same. Another model may be
        given; masks of open objects are then that model's, committed objects stay as they are.

        Parameters
        ----------
        folder
            Of the earlier session.
        image : array_like or PlaneSource
            As for Session.
        model
            By default the one of the session is loaded at the first prediction.
        make_predictor
            As for Session.
        cache_bytes
            As for Session.
        **wrap_options
            As for Session. Recorded options need not be given again.

        Raises
        ------
        InputError
            When the folder is no session, is damaged, or belongs to an image of another shape.
        """
        session = cls.__new__(cls)
        setup = old_setup(Path(folder), image, wrap_options)
        SessionState.__init__(session, setup, model, make_predictor, cache_bytes)
        return session

    # Prompts

    def click(
        self, point: Coordinates, positive: bool = True, view: Window | Edges | None = None
    ) -> NDArray[np.bool_]:
        """Click and return the new mask, (Y, X) bool.

        Parameters
        ----------
        point : (y, x) or (plane..., y, x)
            In this plane without plane indices. Pixels of level 0; pixel centres are at integers.
        positive
            On the object, or on what is not the object.
        view : Window or (top, left, bottom, right), optional
            What the user sees: on large images the model looks at that.

        Raises
        ------
        InputError
            For a point outside the image, or without a model; nothing is recorded then.
        DeviceError
            When the plane is too large for an array of it; nothing is recorded then. Use ``append_click``.
        SaveError
            When the journal cannot be written; nothing is changed then.
        """
        self._needed_model()
        answer = self._bare_plane(np.bool_)
        self.append_click(point, positive, view)
        return self._with_mask(answer)

    @exclusive
    def append_click(
        self, point: Coordinates, positive: bool = True, view: Window | Edges | None = None
    ) -> None:
        """Record a click; the mask follows by ``job``, ``Job.run`` (any thread) and ``finish``."""
        plane, row, col = locate(point, self.plane, self.source)
        click, seen = Click(row, col, bool(positive)), checked_window(view)
        self._do(Event("click", plane, self.plane, click=click, view=seen))

    def box(self, box: Box | Coordinates, view: Window | Edges | None = None) -> NDArray[np.bool_]:
        """Give the object's box, (y0, x0, y1, x1) or (plane..., y0, x0, y1, x1), and return the new mask.

        Corners may come in any order, and a box may reach over the image's border. A second box replaces the
        first; clicks are answered anew with it.

        Raises
        ------
        InputError
            For a box without area or outside the image, or a model that takes no boxes; nothing is recorded.
        DeviceError
            When the plane is too large for an array of it; nothing is recorded then. Use ``append_box``.
        SaveError
            When the journal cannot be written; nothing is changed then.
        """
        check_takes_boxes(self._needed_model())
        answer = self._bare_plane(np.bool_)
        self.append_box(box, view)
        return self._with_mask(answer)

    @exclusive
    def append_box(self, box: Box | Coordinates, view: Window | Edges | None = None) -> None:
        """Record a box; the mask follows by ``job``, ``Job.run`` (any thread) and ``finish``."""
        plane, value = locate_box(box, self.plane, self.source)
        self._do(Event("box", plane, self.plane, box=value, view=checked_window(view)))

    @exclusive
    def remove_box(self) -> None:
        """Take the object's box away; its clicks are answered without."""
        if self.current_box is None:
            raise InputError("The object has no box that could be removed.")
        self._do(Event("box", self.plane, self.plane))

    @exclusive
    def move_click(self, index: int, point: Coordinates) -> None:
        """Put a click (counted from 0) elsewhere in its plane; the clicks after it are replayed."""
        index = checked_index(index)
        plane, row, col = locate(point, self.plane, self.source)
        if plane != self.plane:
            raise InputError("A click cannot be moved to another plane; remove it and click there.")
        old = self.clicks[index] if 0 <= index < len(self.clicks) else None
        click = Click(row, col, old.positive if old is not None else True)
        if click != old:
            self._do(Event("move", plane, plane, index=index, click=click))

    @exclusive
    def remove_click(self, index: int) -> None:
        """Remove a click (counted from 0); the others are replayed."""
        self._do(Event("remove", self.plane, self.plane, index=checked_index(index)))

    @exclusive
    def reset(self) -> None:
        """Drop the prompts of the open object; a chosen label stays chosen. A reopened object is given up."""
        if not self._draft.is_empty or self.plane in self.reopened:
            self._do(Event("reset", self.plane, self.plane))

    @exclusive
    def set_mask(self, mask: NDArray[np.bool_]) -> None:
        """Take a painted mask, (Y, X) bool, as the open object of this plane; the next prompt drops it.

        Whole numbers will do, 0 outside. Raises InputError for another shape, numbers of another kind, which
        may be probabilities, or an empty mask.
        """
        mask = mask if hasattr(mask, "shape") else np.asarray(mask)  # a lazy one stays lazy
        if mask.shape != self.source.shape:
            raise InputError(f"The mask must have the plane's shape {self.source.shape}, got {mask.shape}.")
        whole = Window.of_shape(self.source.shape)
        region = Region.pack((tile, checked_mask(mask[tile.slices])) for tile in tiles_of(whole))
        if not region.tiles:
            raise InputError("The mask is empty; paint the object first.")
        self._do(Event("mask", self.plane, self.plane, region=region))

    def refine_edges(self, model: Refiner | str | Path) -> NDArray[np.bool_]:
        """Make the open object's mask exact along its edges and return it, (Y, X) bool.

        Works on what clicks, a box or `set_mask` gave; the refined mask stands until the next prompt.

        Parameters
        ----------
        model
            EdgeModel, or a name or checkpoint of one, for example "is5net-dis-sam".

        Raises
        ------
        InputError
            Without an object, for a model that does not refine edges, or when refining lost the object;
            nothing is recorded then.
        DeviceError
            When the plane is too large for an array of it; nothing is recorded then. Use ``edge_job``.
        """
        refiner = as_refiner(model)
        answer = self._bare_plane(np.bool_)
        self.finish_edges(self.edge_job(lambda: refiner).run())
        return self._with_mask(answer)

    @exclusive
    def edge_job(self, load: Callable[[], Refiner]) -> EdgeJob:
        """What ``refine_edges`` computes, for any thread: ``EdgeJob.run``, then ``finish_edges``."""
        patch = self._computed()
        if patch is None:
            raise InputError("There is no object to refine; click on it first.")
        return EdgeJob(self._revision, self.plane, self.source, patch, self._draft.box, load)

    @exclusive
    def finish_edges(self, result: EdgeResult) -> bool:
        """Record a refined mask as the open object's; False when the session has moved on."""
        if result.revision != self._revision:
            return False
        self._do(Event("mask", result.plane, self.plane, region=result.region))
        return True

    @exclusive
    def choose_label(self, label: int | None) -> None:
        """Label of this plane's open object: a known one, to add to it, or None for the next free."""
        label = None if label is None else checked_label(label)
        if label != self._draft.label:
            self._do(Event("label", self.plane, self.plane, label=label))

    @exclusive
    def undo(self) -> bool:
        """Take back the last step; False when there is none."""
        return self.can_undo and self._then_bump(self._ledger.undo)

    @exclusive
    def redo(self) -> bool:
        """Make the last undone step again; False when there is none."""
        return self.can_redo and self._then_bump(self._ledger.redo)

    # Objects

    @exclusive
    def commit(self, label: int | None = None, *, overwrite: bool = False) -> int:
        """Write the open object into ``labels`` and return its label.

        Pixels of objects committed before stay theirs, unless ``overwrite``. Committing under a label that
        exists adds to that object: the same object in another plane, or another piece of it.

        Raises
        ------
        InputError
            When the object is empty, nowhere above the threshold, or lies entirely on other objects.
        SaveError
            When the journal cannot be written (nothing happened), or the label file (the object is recorded,
            and is written with the next change or when the session is opened again).
        """
        label = checked_label(self.object_id if label is None else label)
        patch = self._computed()
        asked = self.has_mask or self.current_box is not None or any(click.positive for click in self.clicks)
        if patch is None or not asked:
            raise InputError("There is nothing to commit: the object is empty; click on it first.")
        self._ledger.catch_up()
        found = claim(self.labels, self.plane, patch, label, overwrite=overwrite)
        self._do(Event("commit", self.plane, self.plane, label=label, region=found.region, taken=found.taken))
        self.events.committed.emit(label, found.kept)
        return label

    @exclusive
    def delete(self, label: int) -> None:
        """Take a committed object out of ``labels``, in all planes."""
        self._do(Event("delete", self.plane, self.plane, label=checked_label(label)))

    @exclusive
    def reopen(self, label: int) -> None:
        """Take a committed object out of ``labels`` and go on with its clicks; ``commit`` puts it back as it
        was named.

        Of an object committed several times the last piece in this plane is taken, or else the last of all,
        whose plane becomes this one. Raises InputError when another object is open there.
        """
        label = checked_label(label)
        planes = self.objects.get(label, ())
        here = [index for index, plane in enumerate(planes) if plane == self.plane]
        index = here[-1] if here else len(planes) - 1
        plane = planes[index] if planes else self.plane
        # Here, and not in the history's rules: what was recorded before there was this check is replayed.
        if plane in self.reopened and self._ledger.history.now.draft(plane).is_empty:
            raise InputError(
                f"Object {self.reopened[plane]} is open in this plane; commit or reset it before reopening "
                "this one."
            )
        self._do(Event("reopen", plane, self.plane, label=label, index=index))

    @exclusive
    def place(
        self,
        *,
        scale: Sequence[float] | None = None,
        translate: Sequence[float] | None = None,
        units: Sequence[object] | None = None,
    ) -> None:
        """State anew where the labels lie, as when the pixel size is given late; no pixel changes.

        Parameters
        ----------
        scale
            Units per pixel, one entry per axis of ``labels``; default 1.
        translate
            Position of the first pixel's centre, one entry per axis; default 0.
        units
            Units of ``scale``, one entry per axis; default none.

        Raises
        ------
        InputError
            For another number of entries, or a scale of 0.
        SaveError
            When the session's folder cannot be written.
        """
        known = self.labels.space
        self._ledger.place(Space.make(len(known.axes), known.axes, scale, translate, units))

    # Its end

    @exclusive
    def close(self) -> None:
        """Bring the label files up to date and close the journal. Recorded work is safe without it."""
        self._ledger.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
