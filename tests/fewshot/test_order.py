"""In which order the windows of a scene are done."""

from __future__ import annotations

import numpy as np

from napari_iseg.fewshot.frame import Frame, Grid
from napari_iseg.fewshot.plan import Plan, Rules
from napari_iseg.fewshot.support_store import SupportRef
from napari_iseg.prompts import Window


def test_parts_of_a_scene_are_there_long_before_its_end() -> None:
    side, rng = 800, np.random.default_rng(0)
    frame, grid = Frame.of((side, side)), Grid((side, side), tile=128, halo=14)
    supports = []
    for number, (top, left) in enumerate(rng.integers(0, side - 64, (18, 2)).tolist()):
        window = Window(top, left, top + 64, left + 64)
        supports.append(
            SupportRef(f"scene@{number}", (), window, frame.position(()), (1,), False, "labelled", 1)
        )
    plan = Plan(frame, grid, Rules("any", "any", (1,)), supports, [()])
    order = {name: number for number, name in enumerate(plan.jobs)}
    assert len(order) == len(plan.blocks) == 64
    done = [max(order[job.name] for job in plan.finals(unit)) + 1 for unit in plan.blocks]
    after = lambda jobs: sum(number <= jobs for number in done)  # noqa: E731
    assert after(9) >= 1
    assert after(21) >= 6
    assert after(32) >= 9
