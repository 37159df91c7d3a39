"""A session on disk: ``journal.jsonl`` (the truth), ``session.toml`` (whose it is), ``labels.zarr``,
``applied.json``.

The label store is a copy of what the journal says. ``applied.json`` holds the number of the last record whose
pixels are certainly on the disk; what follows is painted again on opening. Painting gives an object free
pixels and frees those that are its own, so it comes to the same wherever along the record a pixel was left.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import tomli_w
import zarr.errors

from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import made, remove, replacing_folder, sweep, write_text
from napari_iseg.interactive.committing import apply_paints, traces
from napari_iseg.interactive.history import History, Step
from napari_iseg.interactive.label_check import OwnLabels, is_whole, tell_traces
from napari_iseg.interactive.objects import Event
from napari_iseg.interactive.old_labels import wrote
from napari_iseg.interactive.points import checked_threshold
from napari_iseg.labels.journal import Journal, Record
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.store import LabelStore

# Settings that there were not always: sessions of before were made without them.
_WITHOUT = {
    "thin": "",
    "small": "",
    "search_twice": False,
    "search_coarse": 0,
    "search_stability": True,
    "search_rethink": False,
}
# What opening or reading a label store that is none, or no longer whole, may raise.
_DAMAGE = (InputError, OSError, ValueError, RuntimeError, KeyError, zarr.errors.BaseZarrError)
_OME_AXES = 5  # OME-Zarr holds no more: other labels live in memory
FORMAT = 1  # of session.toml and the journal
JOURNAL, INFO, LABELS, APPLIED = "journal.jsonl", "session.toml", "labels.zarr", "applied.json"
FILES = (JOURNAL, f".{JOURNAL}.lock", INFO, LABELS, APPLIED)


@dataclass(slots=True)
class Replayed:
    """What a journal says: the history with its undone steps, the settings, and what was painted when."""

    history: History
    threshold: float | None = None
    model: str = ""
    inference: dict[str, Any] = field(default_factory=dict)
    painted: list[tuple[int, Step, bool]] = field(default_factory=list)  # (record, step, forward)


class SessionFolder:
    """The files of one session.

    Parameters
    ----------
    path : Path
    journal : Journal
    info : dict
        Content of session.toml.
    before : sequence of Path
        What was there before a new session.
    """

    def __init__(
        self, path: Path, journal: Journal, info: dict[str, Any], before: Sequence[Path] = ()
    ) -> None:
        self.path = path
        self.journal = journal
        self.info = info
        self._before = before

    @classmethod
    def create(cls, path: Path, info: dict[str, Any]) -> SessionFolder:
        """A new session folder, without labels.

        A journal without a whole line is what a process leaves that was killed here: that is no session.

        Raises
        ------
        InputError
            A session is there.
        SaveError
            It cannot be written.
        """
        if (path / JOURNAL).is_file() and b"\n" in (path / JOURNAL).read_bytes():
            raise InputError(
                f"{path} already holds a session; open it with Session.open or choose another folder."
            )
        before = [entry for entry in (path, *(path / name for name in FILES)) if entry.exists()]
        made(path, "choose another one")
        journal = Journal(path / JOURNAL, shared=True)
        journal.note = ""
        session = cls(path, journal, info, before)
        with session.whole_or_not():
            session._note(info)
        return session

    @contextmanager
    def whole_or_not(self) -> Iterator[None]:
        """Take away what was made of a new session if the block raises: it would block the name.

        Nothing goes where another program has begun one in the same folder meanwhile.
        """
        try:
            yield
        except BaseException:  # also Ctrl-C
            theirs = self.journal.outdated
            self.journal.close()
            for path in (self.path / name for name in FILES):
                if path not in self._before and not theirs:
                    remove(path)
            if self.path not in self._before:
                with suppress(OSError):  # there is something in it
                    self.path.rmdir()
            raise

    @classmethod
    def open(cls, path: Path) -> SessionFolder:
        """The folder of an earlier session; raises InputError when it is not one or is damaged."""
        if not (path / JOURNAL).is_file() or not (path / INFO).is_file():
            raise InputError(f"{path} is not a session folder: it has no {JOURNAL} and {INFO}.")
        sweep(path)
        info = read_info(path)
        return cls(path, Journal(path / JOURNAL, shared=True), info)

    @property
    def own_labels(self) -> Path | None:
        """Where labels of this folder lie; None where they have too many axes to lie on a disk."""
        return self.path / LABELS if len(self.info["labels"]["shape"]) <= _OME_AXES else None

    def replay(self) -> Replayed:
        """The state after the last whole record."""
        if not self.journal.records:
            raise InputError(
                f"{self.path} holds no session: nothing was recorded in it; begin a new one there."
            )
        number = 1
        try:
            start = self.journal.records[0].body["start"]
            replayed = Replayed(History(tuple(start["plane"]), start["next_label"]))
            for record in self.journal.records:
                number = record.seq
                _replay(replayed, record)
        except (LookupError, TypeError, ValueError, AssertionError) as error:
            raise InputError(
                f"Record {number} of {self.journal.path} cannot be understood ({error}); was it written by a "
                "newer napari-iseg? Open it with that one."
            ) from error
        self.journal.records.clear()
        return replayed

    def restore_labels(self, replayed: Replayed) -> LabelStore:
        """The label store, brought to what the journal says; our own is made anew where it cannot be."""
        given = self.info["labels"].get("path")
        store = self._elsewhere(replayed, Path(given)) if given else self._opened(replayed)
        objects = replayed.history.now.objects
        if self.info["labels"].get("path"):
            tell_traces(store, objects)
        else:
            for label, parts in objects.items():
                store.remember(label, traces(parts))
            store.trust_traces()
        store.reserve(replayed.history.now.next_label)
        self.checkpoint(store)
        return store

    def _opened(self, replayed: Replayed) -> LabelStore:
        """The labels in this folder; nobody else writes there."""
        home, applied = self.own_labels, self._applied()
        if home is None or not home.exists():
            return self._rebuilt(replayed)
        if applied > self.journal.last:
            self._say(
                f"{self.journal.path} ends at record {self.journal.last}, but the labels were written up to "
                f"record {applied}: they are kept as {self._kept(home, applied)}; put the newer journal back "
                "to go on from there."
            )
            return self._rebuilt(replayed)
        try:
            store = OwnLabels.open(home)
            _paint(store, [entry for entry in replayed.painted if entry[0] > applied])
            if is_whole(store, replayed.history.now.objects):
                return store
        except SaveError:
            raise
        except _DAMAGE:
            pass  # all that a session has put into them is in the journal
        self._say(
            f"Labels in {home} were damaged or missing and have been made again from the record, also what "
            f"another program may have erased; what there was is kept as {self._kept(home, applied)}."
        )
        return self._rebuilt(replayed)

    def _kept(self, labels: Path, applied: int) -> Path:
        """Put labels aside that may hold more than the journal, and where they are then."""
        names = (self.path / f"labels-{applied}-{number}.zarr" for number in count(1))
        kept = next(name for name in names if not name.exists())
        try:
            labels.rename(kept)
        except OSError as error:
            raise SaveError(f"{labels} cannot be renamed ({error.strerror or error}); close it.") from error
        return kept

    def _elsewhere(self, replayed: Replayed, where: Path) -> LabelStore:
        """The labels in another place, which may be anybody's: a folder from elsewhere can name any.

        Nothing is painted there on opening unless the labels say that this session writes in them. Labels of
        before there were such notes serve as they are if they bear out what was recorded. Otherwise they are
        left alone, and this folder gets labels of its own.
        """
        own = self.info.get("id")
        if not where.exists():
            raise InputError(f"The labels of this session are not at {where} any more; put them back there.")
        try:
            store = LabelStore.open(where)
            if list(store.shape) != list(self.info["labels"]["shape"]):
                raise InputError(f"their shape is {store.shape}")
            if own in store.sessions:
                _paint(store, [entry for entry in replayed.painted if entry[0] > self._applied()])
                return store
            # Asked of another one: what a search finds must not be there before our objects are told.
            steps = [step for _, step, _ in replayed.painted]
            fits = own is None and wrote(LabelStore.open(where), replayed.history, steps)
        except SaveError:
            raise
        except _DAMAGE as error:
            raise InputError(f"The labels of this session at {where} are damaged ({error}).") from error
        if fits:
            self._note({**self.info, "id": uuid.uuid4().hex})
            store.sign(self.info["id"])
            return store
        stored = {key: value for key, value in self.info["labels"].items() if key != "path"}
        self._note({**self.info, "labels": stored})
        self._say(
            f"The labels at {where} are not known to be this session's and were left as they are; its "
            f"objects are in {self.path / LABELS} from now on."
        )
        return self._rebuilt(replayed)

    def _rebuilt(self, replayed: Replayed) -> LabelStore:
        """All committed objects painted into a new store, which then takes the old one's place."""
        shape, home = self.info["labels"]["shape"], self.own_labels
        settings = {key: value for key, value in self.info["labels"].items() if key not in ("path", "shape")}
        if home is None:
            store = LabelStore(shape, **settings)
            _paint(store, replayed.painted)
            return store
        with replacing_folder(home) as fresh:
            fresh.rmdir()  # its name is all that is wanted
            store = LabelStore(shape, path=fresh, **settings)
            _paint(store, replayed.painted)
            store.flush()
        return OwnLabels.open(home)

    def restate(self, space: Space) -> None:
        """Note where labels that are made again will lie."""
        self._note({**self.info, "labels": {**self.info["labels"], **space.to_record()}})

    def _say(self, note: str) -> None:
        self.journal.note = f"{self.journal.note} {note}".strip()

    def _note(self, info: dict[str, Any]) -> None:
        write_text(self.path / INFO, tomli_w.dumps(info))
        self.info = info

    def checkpoint(self, store: LabelStore) -> None:
        """Sync the labels and note that all records so far are in them."""
        store.flush()
        write_text(self.path / APPLIED, json.dumps({"seq": self.journal.last}))

    def _applied(self) -> int:
        try:
            return int(json.loads((self.path / APPLIED).read_bytes())["seq"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0  # unknown: paint everything again


def read_info(path: Path) -> dict[str, Any]:
    """What session.toml in a session folder says: ``image`` (path, shape, dtype, options) and ``labels``."""
    try:
        info = tomllib.loads((path / INFO).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} is not a session folder: its {INFO} cannot be read.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path / INFO} is damaged ({error}).") from error
    if info.get("format", FORMAT) != FORMAT:
        raise InputError(
            f"The session in {path} is of format {info['format']}, and this napari-iseg reads {FORMAT}; open "
            "it with a newer one."
        )
    try:
        dict(info["image"])
        labels = info["labels"]
        Space.make(len(labels["shape"]), None, *map(labels.get, ("scale", "translate", "units")))
    except (AttributeError, LookupError, TypeError, ValueError):
        raise InputError(
            f"{path / INFO} is damaged: it does not say what image and labels the session has; put back a "
            "copy of it, or that of another session of the same image."
        ) from None
    return info


def _replay(replayed: Replayed, record: Record) -> None:
    """Add one record to what is known."""
    history, body = replayed.history, record.body
    step: Step | None = None
    if "do" in body:
        step = history.plan(Event.from_record(body["do"]))
        history.do(step)
    elif "undo" in body:
        step = history.undo()
    elif "redo" in body:
        step = history.redo()
    elif "threshold" in body:
        replayed.threshold = checked_threshold(body["threshold"].get("value"))
    elif "model" in body:
        replayed.model = body["model"]["name"]
        replayed.inference = {**_WITHOUT, **body["model"]["inference"]}
    if step is not None and (step.gone or step.come):
        replayed.painted.append((record.seq, step, "undo" not in body))


def paint_step(store: LabelStore, step: Step, *, forward: bool) -> None:
    """Make the pixels of a step appear, or take them back."""
    apply_paints(store, step.gone if forward else step.come, clear=True)
    apply_paints(store, step.come if forward else step.gone, clear=False)


def _paint(store: LabelStore, painted: list[tuple[int, Step, bool]]) -> None:
    for _, step, forward in painted:
        paint_step(store, step, forward=forward)
