"""One dock at a time works in a session's folder, on the image that it was made on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_iseg.errors import ModelNotFoundError, SaveError
from napari_iseg.labels.journal import Journal
from napari_iseg.widgets.model_choice import ModelChoice
from napari_iseg.widgets.model_loader import ModelKey
from napari_iseg.widgets.options import Options

from .conftest import Bench
from .test_nothing_unsaid import IMAGE, STACK, begun, close, committed
from .test_session_files import TwoModels

FULL = "The journal could not be written (disk full)."


class FromFile(TwoModels):
    """A checkpoint file, whose model goes by the file's stem; by that name there is none."""

    def load(self, key: Any) -> Any:
        if key.name == "mine":
            raise ModelNotFoundError("There is no model 'mine'.")
        model = super().load(key)
        object.__setattr__(model, "card", replace(model.card, name=Path(key.name).stem))
        return model


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    notification_manager.records.clear()


@pytest.fixture
def left(bench: Bench) -> Path:
    """The folder of a session on "cells" whose dock is closed; its labels, and an "other", are there."""
    begun(bench)
    committed(bench, (30, 30))
    folder: Path = bench.editor.session.folder
    close(bench)
    bench.viewer.add_image(IMAGE[::-1], name="other")
    return folder


def chosen(bench: Bench, name: str) -> Any:
    bench.dock.controller.choose_image(bench.viewer.layers[name])
    bench.rest()
    return bench.editor


def opened(bench: Bench, folder: Path) -> str:
    """The status once this session is open, or is not to be had."""
    bench.dock.controller.files.open(folder)
    bench.rest()
    return str(bench.dock.status.text())


def said() -> list[str]:
    return [record.message for record in notification_manager.records]


def full(monkeypatch: Any) -> None:
    """From now on no journal takes a record."""

    def append(_journal: Journal, _body: Any) -> int:
        raise SaveError(FULL)

    monkeypatch.setattr(Journal, "append", append)


def test_a_session_without_a_file_is_opened_on_the_image_of_its_labels(bench: Bench, left: Path) -> None:
    bench.open()
    chosen(bench, "other")
    assert opened(bench, left) == "Opened: 1 object, undo included."
    assert bench.dock.controller.image.name == "cells"
    assert sum("objects" in layer.name for layer in bench.viewer.layers) == 1
    committed(bench, (90, 90))
    assert sorted(bench.editor.session.objects) == [1, 2]
    assert len(list(bench.folder.iterdir())) == 1
    assert said() == []


def test_a_session_on_another_image_than_its_own_says_so(bench: Bench, left: Path) -> None:
    bench.viewer.layers.remove("cells")
    bench.open()
    assert opened(bench, left) == "Opened on “other”, which may be another picture: 1 object, undo included."


def test_left_labels_are_not_gone_on_with_where_their_session_is_open(bench: Bench, left: Path) -> None:
    cells = bench.viewer.layers["cells"]
    bench.viewer.layers.remove(cells)
    bench.open()
    opened(bench, left)
    bench.viewer.add_layer(cells)
    assert chosen(bench, "cells").session is None
    bench.click((90, 90))
    assert bench.editor.session.folder != left
    chosen(bench, "other")
    committed(bench, (90, 90))
    assert sorted(bench.editor.session.objects) == [1, 2]
    assert said() == []


def test_a_session_that_another_dock_has_is_refused(bench: Bench) -> None:
    first = begun(bench)
    committed(bench, (30, 30))
    folder = bench.editor.session.folder
    second = bench.open()
    bench.settle()
    assert "is open in another dock; go on there" in opened(bench, folder)
    assert bench.editor.session is None
    bench.dock = first
    bench.click((90, 90))
    assert len(bench.editor.session.clicks) == 1
    bench.viewer.window.remove_dock_widget(first)
    assert first.controller.worker.join(10)
    bench.dock = second
    assert "Opened: 1 object" in opened(bench, folder)
    assert len(bench.editor.session.clicks) == 1


def test_where_the_journal_takes_no_other_model_the_dock_goes_back_to_the_one_that_answers(
    bench: Bench, monkeypatch: Any
) -> None:
    dock = begun(bench, loader=TwoModels())
    bench.click((60, 60))
    with monkeypatch.context() as broken:
        full(broken)
        dock.use_model("wide")
        bench.settle()
    assert said() == [FULL]
    assert dock.status.text() == FULL
    assert dock.models.card.name == bench.editor.session.model.card.name == "disks"
    assert dock.controller.choice.key.name == "disks"
    dock.use_model("wide")
    bench.settle()
    assert bench.editor.session.model.card.name == "wide"


def test_where_the_journal_takes_no_other_threshold_the_dock_shows_the_one_in_use(
    bench: Bench, monkeypatch: Any
) -> None:
    dock = begun(bench)
    bench.click((60, 60))
    full(monkeypatch)
    dock.options.threshold.setValue(0.8)
    bench.qtbot.waitUntil(lambda: bool(said()))
    assert said() == [FULL]
    assert dock.options.threshold.value() == bench.editor.session.threshold == 0.5


def test_a_model_that_one_image_cannot_take_is_shown_nowhere(bench: Bench, monkeypatch: Any) -> None:
    dock = begun(bench, loader=TwoModels())
    bench.viewer.add_image(STACK[0], name="other")
    chosen(bench, "other")
    bench.click((60, 60))
    chosen(bench, "cells")
    bench.click((60, 60))
    append, refusing = Journal.append, bench.editor.session.folder

    def some(journal: Journal, body: Any) -> int:
        if journal.path.parent == refusing:
            raise SaveError(FULL)
        return append(journal, body)

    monkeypatch.setattr(Journal, "append", some)
    dock.use_model("wide")
    bench.settle()
    assert {editor.session.model.card.name for editor in dock.controller.editors} == {"disks"}
    assert dock.models.card.name == "disks"


def test_the_model_of_a_file_without_a_card_is_known_by_its_path() -> None:
    loader = TwoModels()
    choice, file = ModelChoice(loader), ModelKey("/models/wide.v2.pth")
    model = loader.load(ModelKey("wide.v2"))
    assert choice.key_of(model) is None
    choice.choose(file, Options())
    assert choice.key_of(model) == file
    choice.choose(ModelKey("disks"), Options())
    assert choice.key_of(model) == file
    assert choice.key_of(loader.load(choice.key)) == choice.key


def test_an_image_that_could_not_take_a_model_takes_it_when_it_is_chosen_again(
    bench: Bench, monkeypatch: Any
) -> None:
    dock = begun(bench, loader=TwoModels())
    bench.click((60, 60))
    aside = bench.editor
    bench.viewer.add_image(IMAGE, name="other")
    chosen(bench, "other")
    with monkeypatch.context() as broken:
        full(broken)
        dock.use_model("wide")
        bench.settle()
    assert aside.session.model.card.name == "disks"
    assert dock.models.card.name == "wide"
    chosen(bench, "cells")
    assert aside.session.model.card.name == dock.models.card.name == "wide"


def test_options_that_one_image_could_not_take_are_taken_when_it_is_chosen_again(
    bench: Bench, monkeypatch: Any
) -> None:
    dock = begun(bench, loader=TwoModels())
    bench.click((60, 60))
    aside = bench.editor
    bench.viewer.add_image(IMAGE, name="other")
    chosen(bench, "other")
    with monkeypatch.context() as broken:
        full(broken)
        dock.controller.choose_options(replace(dock.controller.choice.options, refine_steps=2))
        bench.settle()
    assert aside.session.model.inference.refine_steps == 0
    chosen(bench, "cells")
    assert aside.session.model.inference.refine_steps == 2


def test_a_session_of_a_file_without_a_card_goes_on_with_that_file(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(b"weights")
    dock = begun(bench, loader=FromFile())
    dock.use_model(str(file))
    committed(bench, (30, 30))
    dock.options.threshold.setValue(0.8)
    bench.qtbot.waitUntil(lambda: bench.editor.session.threshold == 0.8)
    folder = bench.editor.session.folder
    assert bench.editor.session.recorded_model[0] == "mine"
    close(bench)
    bench.viewer.layers.remove("cells objects")
    dock = bench.open()
    dock.use_model(str(file))
    assert opened(bench, folder).startswith("Opened")
    assert dock.models.card.name == str(file)
    assert dock.options.threshold.value() == bench.editor.session.threshold == 0.8


def test_new_pixels_while_an_object_is_reopened(bench: Bench) -> None:
    begun(bench)
    committed(bench, (30, 30), (90, 90))
    bench.do("pick")
    bench.click((90, 90))
    labels = bench.editor.layers.committed
    bench.dock.controller.image.data = IMAGE[::-1]
    bench.rest()
    assert np.unique(np.asarray(labels.data)).tolist() == [0, 1]
    (sentence,) = said()
    assert "Object 2 is open and not in the labels that stay" in sentence
    assert "on the image of before" in sentence
