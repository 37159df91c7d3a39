"""Which result goes on with which labels: by the name of their layer, with none, and with others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_iseg.fewshot.kept_clicks import kept_clicks
from napari_iseg.fewshot.preparing import run_folder

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_outputs import Known, Whose, _note, made_from, output_path

ONE, TWO = sparse(TRUTH == 1, 0).astype(np.uint8), 2 * sparse(TRUTH == 2, 2).astype(np.uint8)


@pytest.fixture
def accepted(fewshot: Any) -> Any:
    """A result made from the labels "some", whose slice 4 was accepted."""
    fewshot.open(labels=ONE)
    fewshot.run()
    fewshot.show(4)
    fewshot.dock.accept_button.click()
    fewshot.settle()
    return fewshot.dock.controller.results.output.path


def restart(fewshot: Any, **labels: Any) -> Any:
    """The image, labels by name, and the dock, as after napari was closed."""
    fewshot.dock.shut_down()
    fewshot.viewer.layers.clear()
    dock = fewshot.open()
    for name, data in labels.items():
        fewshot.viewer.add_labels(data, name=name)
    fewshot.settle()
    return dock


def choose(fewshot: Any, name: str) -> None:
    box = fewshot.dock.labels
    box.setCurrentText(name)
    box.activated.emit(box.currentIndex())


def new_clicks(fewshot: Any, *places: Any) -> Any:
    """A new layer of clicks of the dock, with these."""
    box = fewshot.dock.clicks
    box.activated.emit(len(box.layers))
    for place in places:
        box.layer.add(place)
    fewshot.settle()
    return box.layer


def supports(fewshot: Any) -> list[str]:
    rows = fewshot.dock.supports
    return [rows.item(i).text().split("\n")[0] for i in range(rows.count())]


def kept(path: Path) -> list[int]:
    """The planes of the clicks that are on disk with a result."""
    return [plane for (plane,) in kept_clicks(run_folder(path))]


def noted(path: Path) -> Any:
    """What is kept with a result of the labels that it was made from."""
    return json.loads((run_folder(path) / "labels.json").read_text())


def test_a_result_is_shown_without_its_labels_and_goes_on_with_them(fewshot, accepted, monkeypatch):
    said, result = [], fewshot.result.copy()
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", said.append)
    dock = restart(fewshot)
    assert dock.status.text() == (
        "There is an earlier result of this image, made from labels 'some': Run shows it; choose labels "
        "'some' to go on with it."
    )
    fewshot.run()
    (layer,) = (layer for layer in fewshot.viewer.layers if "few-shot" in layer.name)
    np.testing.assert_array_equal(np.asarray(layer.data), result)
    assert "choose labels 'some' to go on with it" in said[-1]
    assert dock.status.text() == said[-1]
    fewshot.viewer.add_labels(ONE, name="some")
    assert dock.labels.currentText() == "some"
    fewshot.run()
    assert dock.controller.results.output.path == accepted
    assert dock.controller.results.layer is layer
    assert supports(fewshot) == ["0 · labelled", "4 · accepted"]


def test_what_was_clicked_does_not_go_on_without_the_labels_either(fewshot, accepted):
    new_clicks(fewshot, (3, 6, 6))
    assert kept(accepted) == [3]
    result = fewshot.result.copy()
    dock = restart(fewshot)
    fewshot.run()
    assert "corrections" in dock.clicks.currentText()
    np.testing.assert_array_equal(np.asarray(fewshot.viewer.layers["stack few-shot"].data), result)


def test_labels_of_another_name_go_on_with_the_only_result(fewshot, accepted):
    assert noted(accepted) == {"labels": "some"}, "a name is all that results of earlier versions have noted"
    dock = restart(fewshot, stack_labels=ONE)
    assert "earlier result of this image, made from labels 'some'" in dock.status.text()
    fewshot.run()
    assert dock.controller.results.output.path == accepted
    assert supports(fewshot) == ["0 · labelled", "4 · accepted"]
    assert made_from(accepted) == "stack_labels"


def test_labels_with_more_on_them_are_found_under_another_name(fewshot, accepted):
    dock = restart(fewshot, mine=np.maximum(ONE, TWO))
    fewshot.run()
    assert dock.controller.results.output.path == accepted
    assert "It goes on with the result made from labels 'some'." in dock.status.text()
    fewshot.run()
    assert "It goes on" not in dock.status.text(), "said once"


def test_other_labels_begin_anew_beside_the_only_result(fewshot, accepted):
    dock = restart(fewshot, vesicles=TWO)
    assert "made from labels 'some': rename the layer to 'some' to go on with it" in dock.status.text()
    fewshot.run()
    assert dock.controller.results.output.path != accepted
    assert supports(fewshot) == ["2 · labelled"], "what was accepted of one class is no background of another"
    assert "What was made from labels 'some' stays as it is" in dock.status.text()
    assert made_from(accepted) == "some"
    fewshot.viewer.layers.remove("vesicles")
    fewshot.viewer.add_labels(ONE, name="some")
    fewshot.run()
    assert dock.controller.results.output.path == accepted


def test_other_labels_of_the_same_name_are_told_how_to_begin_anew(fewshot, accepted):
    dock = restart(fewshot, some=TWO)
    assert dock.status.text().endswith("It is of other labels of this name: rename the layer to begin anew.")
    fewshot.viewer.layers["some"].name = "vesicles"
    fewshot.run()
    assert dock.controller.results.output.path != accepted


def test_a_new_layer_beside_a_result_that_is_shown_without_labels_begins_anew(fewshot, accepted):
    dock = restart(fewshot)
    fewshot.run()
    fewshot.viewer.add_labels(np.zeros_like(ONE), name="vesicles")
    fewshot.settle()
    assert dock.controller.results is None
    assert "Run begins another" in dock.status.text()


def test_where_several_results_may_be_meant_it_is_said_how_to_go_on(fewshot, accepted):
    fewshot.viewer.add_labels(TWO, name="others")
    choose(fewshot, "others")
    fewshot.run()
    dock = restart(fewshot)
    assert "made from labels 'others' or 'some': choose labels 'others' or 'some'" in dock.status.text()
    layer = fewshot.viewer.add_labels(ONE, name="others")
    layer.name = "mine"
    fewshot.settle()
    assert "'others' or 'some': rename the layer to 'others' or 'some' to go on" in dock.status.text()
    layer.name = "some"
    fewshot.settle()
    assert "There is an earlier result" in dock.status.text()
    fewshot.run()
    assert dock.controller.results.output.path == accepted
    layer.name = "third"
    fewshot.run()
    assert dock.controller.results.output.path == accepted, "renamed, it is the same layer"


@pytest.mark.parametrize("gone", ["removed", "none"])
def test_a_result_stays_when_its_labels_are_gone(fewshot, accepted, gone):
    dock, results, report = fewshot.dock, fewshot.dock.controller.results, fewshot.dock.controller.report
    if gone == "removed":
        fewshot.viewer.layers.remove("some")
    else:
        choose(fewshot, "none")
    fewshot.show(3)
    assert dock.labels.currentText() == "none"
    assert (dock.controller.results, dock.controller.report) == (results, report)
    assert dock.save_button.isEnabled()
    assert dock.accept_button.isEnabled()
    assert dock.status.text() == "The result stays; choose labels 'some' to go on with it."
    shown = fewshot.result.copy()
    fewshot.run()
    assert dock.controller.results is results
    np.testing.assert_array_equal(fewshot.result, shown, "nothing is predicted over what was painted")
    if gone == "none":
        choose(fewshot, "some")
        assert dock.controller.results is results
        assert dock.status.text() == "Run goes on with the result that is shown."


def test_each_result_has_clicks_of_its_own(fewshot):
    dock = fewshot.open(labels=ONE)
    fewshot.run()
    first, ones = dock.controller.results.output.path, new_clicks(fewshot, (3, 6, 6))
    fewshot.viewer.add_labels(TWO, name="others")
    choose(fewshot, "others")
    assert dock.clicks.currentText() == "none"
    fewshot.run()
    assert supports(fewshot) == ["2 · labelled"], "clicks for some are no annotation of others"
    second, twos = dock.controller.results.output.path, new_clicks(fewshot, (1, 16, 16))
    for name, path, layer in (("some", first, ones), ("others", second, twos)):
        choose(fewshot, name)
        fewshot.settle()
        assert dock.clicks.layer is layer
        fewshot.run()
        assert dock.controller.results.output.path == path
        assert (kept(first), kept(second)) == ([3], [1])
    dock.clicks.setCurrentIndex(0)
    new_clicks(fewshot)  # chosen and empty
    choose(fewshot, "some")
    fewshot.run()  # at once
    assert dock.clicks.layer is ones
    dock = restart(fewshot, some=ONE, others=TWO)
    for name, planes in (("others", [1]), ("some", [3])):
        choose(fewshot, name)
        fewshot.run()
        assert [plane for (plane,) in dock.controller._given()] == planes
    assert (kept(first), kept(second)) == ([3], [1])


def test_clicks_that_no_result_was_made_with_give_way_to_those_of_an_earlier_one(fewshot):
    dock = fewshot.open(labels=ONE)
    new_clicks(fewshot, (3, 6, 6))
    fewshot.run()
    first = dock.controller.results.output.path
    fewshot.viewer.add_labels(TWO, name="others")
    choose(fewshot, "others")
    fewshot.settle()
    begun = new_clicks(fewshot, (1, 16, 16))
    choose(fewshot, "some")
    fewshot.settle()
    assert dock.clicks.layer not in (begun, None)
    fewshot.run()
    assert kept(first) == [3]


def test_a_run_of_clicks_goes_on_when_labels_come_while_it_prepares(fewshot):
    dock = fewshot.open()
    new_clicks(fewshot, (3, 6, 6))
    dock.run_button.click()
    fewshot.viewer.add_labels(np.zeros_like(ONE), name="empty")
    assert dock.labels.currentText() == "empty"
    fewshot.settle()
    assert "Done" in dock.status.text()
    assert np.isfinite(fewshot.cells).all()


def test_a_run_ends_when_other_labels_are_chosen_while_it_prepares(fewshot):
    dock = fewshot.open(labels=ONE)
    fewshot.viewer.add_labels(TWO, name="others")
    dock.run_button.click()
    choose(fewshot, "others")
    fewshot.settle()
    assert dock.controller.results is None
    assert dock.status.text().startswith("Stopped: the image or its labels are others now")
    assert supports(fewshot) == ["2 · labelled"]
    fewshot.run()
    assert supports(fewshot) == ["2 · labelled"]
    assert made_from(dock.controller.results.output.path) == "others"


@pytest.fixture
def clicked(fewshot: Any) -> Any:
    """A result of clicks alone, run with empty labels "some", whose slice 4 was accepted and taken back."""
    fewshot.open(labels=np.zeros_like(ONE))
    new_clicks(fewshot, (3, 6, 6))
    fewshot.run()
    fewshot.show(4)
    for button in (fewshot.dock.accept_button, fewshot.dock.reject_button):
        button.click()
        fewshot.settle()
    assert fewshot.dock.controller.results.decisions.accepted == set()
    return fewshot.dock.controller.results.output.path


def test_labels_in_which_nothing_was_painted_are_not_needed(fewshot, clicked, monkeypatch):
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", pytest.fail)
    choose(fewshot, "none")
    assert fewshot.dock.status.text().startswith("The result stays: without labels, Run goes on")
    dock = restart(fewshot)
    assert dock.status.text() == (
        "There is an earlier result of this image, made from labels 'some': Run shows it and goes on with it."
    )
    fewshot.run()
    assert dock.controller.results.output.path == clicked
    assert supports(fewshot) == ["3 · clicked"]


def test_a_result_of_no_painting_is_not_of_others(fewshot, clicked):
    dock = restart(fewshot, vesicles=TWO)
    assert "Run shows it and goes on with it" in dock.status.text()
    fewshot.run()
    assert dock.controller.results.output.path == clicked
    assert supports(fewshot) == ["2 · labelled", "3 · clicked"]
    assert noted(clicked) == {"labels": "vesicles"}, "by now there is"


def test_that_nothing_was_painted_stays_noted_under_another_name(fewshot, clicked):
    assert noted(clicked) == {"labels": "some", "painted": False}
    fewshot.viewer.layers["some"].name = "mine"
    fewshot.settle()
    assert noted(clicked) == {"labels": "mine", "painted": False}


def test_a_result_made_anew_of_clicks_alone_needs_no_labels(fewshot, accepted, monkeypatch):
    monkeypatch.setattr("napari_iseg.widgets.reports.warn", pytest.fail)
    dock = restart(fewshot)
    shutil.rmtree(accepted)
    new_clicks(fewshot, (3, 6, 6))
    for _ in range(2):
        fewshot.run()
        assert dock.controller.results.output.path == accepted
        assert supports(fewshot) == ["3 · clicked"]


def test_names_count_before_what_has_none(tmp_path):
    digests = ("aaaaaaaaaaaa", "bbbbbbbbbbbb")  # the second names results of before
    old, new = tmp_path / f"stack-{digests[1]}.zarr", tmp_path / f"stack-{digests[0]}.zarr"
    for path in (old, new):
        run_folder(path).mkdir(parents=True)
        path.mkdir()
    _note(old, "A")
    found = {name: output_path(tmp_path, "stack", digests, name) for name in ("A", "B", None)}
    assert found == {"A": old, "B": new, None: new}


def test_two_labels_layers_never_share_a_result(tmp_path):
    digests = ("aaaaaaaaaaaa", "bbbbbbbbbbbb")
    path = tmp_path / f"stack-{digests[0]}.zarr"
    run_folder(path).mkdir(parents=True)
    path.mkdir()
    _note(path, "A")
    known = Known(tmp_path, digests)
    assert known.of(Whose("B", frozenset("AB"))) is None
    assert known.meant(Whose("B", frozenset("AB"))) == []
    assert known.of(Whose("B", frozenset("B"))) == known.of(Whose(None, frozenset("A"))) == path
