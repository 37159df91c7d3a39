"""Random use: undo gives back what was, redo what came after, and any prefix of the journal is a session."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from session_fakes import FakeModel, FakePredictor

from napari_iseg.errors import InputError
from napari_iseg.interactive.session import Session

STACK = np.zeros((2, 24, 28), np.uint8)
MODEL = FakeModel(radius=4)
points = st.tuples(st.integers(0, 1), st.sampled_from([3, 9, 16, 20]), st.sampled_from([4, 11, 23]))


def seen(session: Session) -> dict:
    """All that a user can see, in both planes."""
    plane = session.plane
    state = {
        "labels": session.labels.levels[0][:].tobytes(),
        "objects": session.objects,
        "prompts": {label: session.labels.prompts_of(label) for label in session.objects},
        "undo": (session.can_undo, session.can_redo),
        "plane": plane,
    }
    for z in (0, 1):
        session.plane = (z,)
        state[z] = (session.clicks, session.object_id, session.mask.tobytes(), session.probability.tobytes())
    session.plane = plane
    return state


def shown(state: dict) -> dict:
    return {key: value for key, value in state.items() if key != "undo"}


class SessionMachine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "session"
        self.session = Session(
            STACK, MODEL, journal=self.folder, make_predictor=FakePredictor, cache_bytes=20_000
        )
        self.after = {len(self.journal()): seen(self.session)}  # size of the journal -> what was seen then

    def teardown(self):
        if hasattr(self, "session"):
            self.check_prefixes()
            self.check_old_labels()
            shutil.rmtree(self.root)

    def journal(self) -> bytes:
        return (self.folder / "journal.jsonl").read_bytes()

    def do(self, action):
        """Act; then undo must give what was and redo what came."""
        before, size = seen(self.session), len(self.journal())
        try:
            action()
        except InputError:
            assert seen(self.session) == before
            assert len(self.journal()) == size
            return
        after = seen(self.session)
        if len(self.journal()) > size:
            self.after[len(self.journal())] = after
            assert self.session.undo()
            assert shown(seen(self.session)) == shown(before)
            self.after[len(self.journal())] = seen(self.session)
            assert self.session.redo()
            assert seen(self.session) == after
            self.after[len(self.journal())] = after

    @rule(point=points, positive=st.booleans())
    def click(self, point, positive):
        self.do(lambda: self.session.click(point, positive))

    @rule(label=st.sampled_from([None, None, 1, 2, 7]), overwrite=st.booleans())
    def commit(self, label, overwrite):
        self.do(lambda: self.session.commit(label, overwrite=overwrite))

    @rule(label=st.integers(1, 4))
    def delete(self, label):
        self.do(lambda: self.session.delete(label))

    @rule(label=st.integers(1, 4))
    def reopen(self, label):
        self.do(lambda: self.session.reopen(label))

    @rule(index=st.integers(0, 3), point=points)
    def move(self, index, point):
        self.do(lambda: self.session.move_click(index, point[1:]))

    @rule(index=st.integers(0, 3))
    def remove(self, index):
        self.do(lambda: self.session.remove_click(index))

    @rule()
    def reset(self):
        self.do(self.session.reset)

    @rule(box=st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(12, 24), st.integers(12, 28)))
    def box(self, box):
        self.do(lambda: self.session.box(box))

    @rule(label=st.sampled_from([None, 2, 5]))
    def choose(self, label):
        self.do(lambda: self.session.choose_label(label))

    @precondition(lambda self: self.session.can_undo)
    @rule(times=st.integers(1, 4))
    def undo(self, times):
        for _ in range(times):
            if self.session.undo():
                self.after[len(self.journal())] = seen(self.session)

    @precondition(lambda self: self.session.can_redo)
    @rule(times=st.integers(1, 4))
    def redo(self, times):
        for _ in range(times):
            if self.session.redo():
                self.after[len(self.journal())] = seen(self.session)

    @rule()
    def keep_the_label_files(self):
        for name in ("labels.zarr", "applied.json"):
            if (self.folder / name).is_dir():
                shutil.rmtree(self.root / name, ignore_errors=True)
                shutil.copytree(self.folder / name, self.root / name)
            elif (self.folder / name).exists():
                shutil.copy(self.folder / name, self.root / name)

    @rule(plane=st.integers(0, 1))
    def show_plane(self, plane):
        self.session.plane = (plane,)

    @rule()
    def kill_and_reopen(self):
        state, plane = seen(self.session), self.session.plane
        self.session = Session.open(self.folder, STACK, MODEL, make_predictor=FakePredictor)
        self.session.plane = plane
        assert seen(self.session) == state

    @invariant()
    def labels_are_those_of_the_objects(self):
        if hasattr(self, "session"):
            found = {int(label) for label in np.unique(self.session.labels.levels[0][:])} - {0}
            assert found <= set(self.session.objects)

    def check_prefixes(self):
        """Any whole records, with or without a torn one behind, are a session, even without labels."""
        content = self.journal()
        ends = sorted(self.after)
        for number, end in enumerate(ends[:: max(1, len(ends) // 4)]):
            copy = self.root / f"copy{number}"
            shutil.copytree(self.folder, copy)
            (copy / "journal.jsonl").write_bytes(content[: end + (7 if number % 2 else 0)])
            (copy / "applied.json").unlink(missing_ok=True)
            shutil.rmtree(copy / "labels.zarr")
            session = Session.open(copy, STACK, MODEL, make_predictor=FakePredictor)
            state, expected = seen(session), self.after[end]
            state.pop("plane"), (expected := dict(expected)).pop("plane")
            assert state == expected

    def check_old_labels(self):
        """Label files that a crash left behind are brought up to the journal."""
        if (self.root / "labels.zarr").exists():
            expected = seen(self.session)
            shutil.rmtree(self.folder / "labels.zarr")
            shutil.copytree(self.root / "labels.zarr", self.folder / "labels.zarr")
            (self.folder / "applied.json").unlink(missing_ok=True)
            if (self.root / "applied.json").exists():
                shutil.copy(self.root / "applied.json", self.folder)
            session = Session.open(self.folder, STACK, MODEL, make_predictor=FakePredictor)
            session.plane = expected["plane"]
            assert seen(session) == expected


TestSession = SessionMachine.TestCase
TestSession.settings = settings(
    max_examples=8,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
