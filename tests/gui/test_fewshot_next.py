"""What is next to annotate is found out anew each time it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from .fewshot_bench import TRUTH, VOLUME, sparse


@pytest.fixture
def doubtful(fewshot: Any) -> Any:
    """A result from slice 0 whose slice 3 is the most doubtful; what comes then takes its time."""
    volume = VOLUME.copy()
    volume[3][TRUTH[3] == 2] = 135  # as near to one label as to the other
    dock = fewshot.open(volume, sparse(TRUTH, 0).astype("u1"))
    fewshot.run()
    fewshot.fake.slow = 0.1
    dock.next_button.click()
    assert fewshot.viewer.dims.current_step[0] == 3
    return dock


@pytest.mark.parametrize("when", ["at once", "in the run"])
def test_next_leaves_an_accepted_slice_while_the_rest_is_renewed(fewshot, doubtful, when):
    fewshot.fake.calls.clear()
    doubtful.accept_button.click()
    if when == "in the run":
        fewshot.qtbot.waitUntil(lambda: len(fewshot.fake.calls) > 2, timeout=30_000)
    assert doubtful.controller.running
    assert doubtful.next_button.isEnabled()
    doubtful.next_button.click()
    assert fewshot.viewer.dims.current_step[0] != 3
    fewshot.settle()


def test_next_leaves_clicked_and_painted_slices(fewshot, doubtful):
    controller = doubtful.controller
    controller.run = lambda: None  # a click begins one
    choice = doubtful.clicks
    choice.activated.emit(len(choice.layers))
    choice.layer.add((3, 6, 6))
    doubtful.next_button.click()
    second = fewshot.viewer.dims.current_step[0]
    assert second != 3
    fewshot.viewer.layers["some"].data[second, 6, 6] = 1
    fewshot.viewer.layers["some"].refresh()
    fewshot.settle()
    doubtful.next_button.click()
    assert fewshot.viewer.dims.current_step[0] not in (3, second)


def test_where_nothing_is_known_or_left_next_says_so(fewshot, doubtful):
    controller = doubtful.controller
    results = controller.results
    for plane in range(1, 5):
        results.decisions.accept((plane,))
    fewshot.show(2)
    doubtful.controller.ways.go_next()
    assert fewshot.viewer.dims.current_step[0] == 2
    assert "annotated, accepted or rejected by now" in doubtful.status.text()
    doubtful.run_button.click()
    controller.ways.go_next()
    assert "not known yet" in doubtful.status.text()
    fewshot.settle()
