"""Names of labels and of files: no result loses its name to another, and names in any script fit a disk."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_iseg.fewshot.preparing import run_folder

from .conftest import NO_WINDOW
from .fewshot_bench import TRUTH, sparse

if NO_WINDOW is None:
    from napari_iseg.widgets.fewshot_outputs import Known, Made, Whose, _note, made_from, output_path

DIGESTS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb")
ONE, TWO = sparse(TRUTH == 1, 0).astype(np.uint8), 2 * sparse(TRUTH == 2, 2).astype(np.uint8)


class Layer:
    def __init__(self, name: str) -> None:
        self.name = name


def made_of(folder: Any, made: Any, layer: Layer) -> Any:
    """A new result of a layer."""
    path = output_path(folder, "stack", DIGESTS, layer.name, frozenset({"A", "B", layer.name}))
    run_folder(path).mkdir(parents=True)
    path.mkdir()
    made.keep(path, DIGESTS, layer, layer.name)
    return path


def test_a_layer_with_the_name_of_an_earlier_result_goes_on_with_that(tmp_path):
    earlier, made = [Layer("A"), Layer("B")], Made()
    first, second = (made_of(tmp_path, Made(), layer) for layer in earlier)
    mine = Layer("mine")
    third = made_of(tmp_path, made, mine)
    mine.name = "B"
    assert made.follow_names() == [("mine", "B")]
    assert made.follow_names() == [], "said once"
    assert [made_from(path) for path in (first, second, third)] == ["A", "B", "mine"]
    known = Known(tmp_path, DIGESTS)
    assert [known.of(Whose(name)) for name in ("A", "B", "mine")] == [first, second, third]
    made.keep(second, DIGESTS, mine, "B")
    mine.name = "C"
    assert made.follow_names() == []
    assert [made_from(path) for path in (first, second, third)] == ["A", "C", "mine"]


def test_results_of_other_images_follow_a_name_all_the_same(tmp_path):
    made, layer = Made(), Layer("A")
    path = made_of(tmp_path, made, layer)
    other = tmp_path / "other-cccccccccccc.zarr"
    run_folder(other).mkdir(parents=True)
    other.mkdir()
    Made().keep(other, ("cccccccccccc", "dddddddddddd"), Layer("B"), "B")
    layer.name = "B"
    assert made.follow_names() == []
    assert made_from(path) == "B"


@pytest.mark.parametrize("when", ["done", "preparing"])
def test_renamed_to_the_name_of_another_result_it_is_said(fewshot, when):
    notification_manager.records.clear()
    dock = fewshot.open(labels=ONE)
    fewshot.run()
    first = dock.controller.results.output.path
    layer = fewshot.viewer.add_labels(TWO, name="others")
    box = dock.labels
    box.setCurrentText("others")
    box.activated.emit(box.currentIndex())
    if when == "done":
        fewshot.run()
    else:
        dock.run_button.click()
    fewshot.viewer.layers.remove("some")
    layer.name = "some"
    fewshot.settle()
    said = [record.message for record in notification_manager.records]
    assert any("earlier result made from labels 'some': they go on with it now" in line for line in said)
    assert "There is an earlier result" in dock.status.text()
    assert dock.controller.results is None
    fewshot.run()
    assert dock.controller.results.output.path == first
    layer.name = "others"
    fewshot.run()
    second = dock.controller.results.output.path
    assert (made_from(first), made_from(second)) == ("some", "others")


def test_long_names_in_any_script_fit(tmp_path):
    image, labels = "細胞膜染色三次元画像" * 4, "手動で注釈した層" * 5
    first = output_path(tmp_path, image, DIGESTS, "A")
    run_folder(first).mkdir(parents=True)
    first.mkdir()
    _note(first, "A")
    second = output_path(tmp_path, image, DIGESTS, labels, frozenset({"A", labels}))
    assert second.name.startswith("細胞膜染色三次元画像細胞膜-手動で注釈した層")
    assert len(os.fsencode(run_folder(second).name)) < 143
