"""Training goes on exactly where a killed run stopped, and a sample follows from its index alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_iseg.errors import InputError
from napari_iseg.training.bank import Bank, draw_cut, picture
from napari_iseg.training.click_task import ClickTask
from napari_iseg.training.fit import Trainer, ahead, rate_at
from napari_iseg.training.iteration import expected_iou
from napari_iseg.training.log import Log, Progress, read_log
from napari_iseg.training.published import PublishedSamples, Rule
from napari_iseg.training.recipe import LossRecipe, OptimRecipe, Recipe, read_recipe
from napari_iseg.training.samples import SampleOptions, Samples
from napari_iseg.training.synthetic import random_scene
from napari_iseg.training.task import Step, Terms, task_for

TINY = {"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 4}


class Killed(Exception):
    """Stands for a power cut."""


@pytest.fixture(scope="module")
def bank() -> Bank:
    made = Bank()
    scenes = [picture(*random_scene(np.random.default_rng(i), 96)) for i in range(4)]
    made.add("scenes", scenes, 1.0)
    return made


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        "tiny",
        variant=TINY,
        keep_every=2,
        workers=1,
        samples={"size": 32, "late_size": 48},
        optim=OptimRecipe(steps=6, batch=2, rate=1e-3, warmup=2, decay_from=4),
        loss=LossRecipe(dice=1.0, free_share=1.0, free_forwards=1),
    )


def test_a_killed_run_ends_with_the_weights_of_one_that_was_never_killed(
    bank: Bank, recipe: Recipe, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    whole = Trainer(recipe, bank, tmp_path / "whole").run()
    with pytest.raises(Killed):
        Trainer(recipe, bank, tmp_path / "killed").run(stop)
    steps: list[int] = []
    resumed = Trainer(recipe, bank, tmp_path / "killed").run(lambda progress: steps.append(progress.step))
    assert steps == [3, 4, 5, 6]  # the last checkpoint was written after step 2
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_name(
    bank: Bank, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.fstat(file).st_ino) or sync(file))
    monkeypatch.setattr(Path, "replace", lambda old, new: done.append(new.name) or rename(old, new))
    recipe = replace(recipe, keep_every=100)
    Trainer(recipe, bank, tmp_path, lambda net, step: {"score": 1.0}).run()
    written = [(tmp_path / name).stat().st_ino for name in ("best.ckpt", "last.ckpt")]
    assert done == [written[0], "best.ckpt", written[1], "last.ckpt"]


class OddTask(ClickTask):
    """Its loss is not a number in some steps."""

    def __init__(self, odd: set[int]) -> None:
        self.odd, self.asked = odd, 0

    def loss(self, step: Step) -> Terms:
        made = super().loss(step)
        self.asked += 1
        return replace(made, total=made.total * float("nan")) if self.asked in self.odd else made


class PressedTask(ClickTask):
    """Somebody presses Ctrl-C in the middle of a step."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times, self.asked = step, times, 0

    def loss(self, step: Step) -> Terms:
        self.asked += 1
        for _ in range(self.times if self.asked == self.step else 0):
            signal.raise_signal(signal.SIGINT)
        return super().loss(step)


def test_one_odd_batch_does_not_end_a_run(bank: Bank, recipe: Recipe, tmp_path: Path) -> None:
    net = Trainer(recipe, bank, tmp_path / "odd", task=OddTask({3})).run()
    assert all(bool(torch.isfinite(value).all()) for value in net.state_dict().values())
    plain = Trainer(recipe, bank, tmp_path / "plain").run()
    assert not torch.equal(net.out.weight, plain.out.weight)  # that step was passed over, the others were not
    start = Trainer(recipe, bank, tmp_path / "start").build()
    assert not torch.equal(net.out.weight, start.out.weight)


def test_a_run_whose_gradients_stay_odd_says_so(
    bank: Bank, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_iseg.training.fit._MOST_ODD", 3)
    with pytest.raises(InputError, match=r"3 steps up to 4 .*lower rate"):
        Trainer(recipe, bank, tmp_path / "odd", task=OddTask({3, 4, 5})).run()


def test_parts_that_are_not_named_stay_as_they_were(bank: Bank, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, optim=replace(recipe.optim, only=("stem", "levels.0"), weight_decay=0.5))
    before = Trainer(recipe, bank, tmp_path / "one").build().state_dict()
    after = Trainer(recipe, bank, tmp_path / "one").run().state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith(("stem.", "levels.0.")) for key in changed)
    assert any(key.startswith("levels.0.") for key in changed)
    wrong = replace(recipe, optim=replace(recipe.optim, only=("roots",)))
    with pytest.raises(InputError, match=r"no part 'roots'.*stem"):
        Trainer(wrong, bank, tmp_path / "two").build()


def test_training_changes_the_network_and_keeps_the_best_by_validation(
    bank: Bank, recipe: Recipe, tmp_path: Path
) -> None:
    scores = iter([5.0, 3.0, 4.0])
    recipe = replace(recipe, validation=replace(recipe.validation, every=2))
    trainer = Trainer(recipe, bank, tmp_path, lambda net, step: {"score": next(scores), "iou": 0.5})
    trained = trainer.run()
    before = trainer.build().state_dict()
    assert any(not torch.equal(before[key], value) for key, value in trained.state_dict().items())
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert (best["step"], best["scores"]["score"]) == (4, 3.0)


def best_of(scores: list[dict[str, float]], bank: Bank, recipe: Recipe, folder: Path) -> int:
    """The step of the best checkpoint of a run with these scores after its last steps."""
    coming = iter(scores)
    Trainer(recipe, bank, folder, lambda net, step: next(coming)).run()
    return int(torch.load(folder / "best.ckpt", weights_only=True)["step"])


def test_of_equal_scores_the_higher_iou_is_kept_then_the_later_step(
    bank: Bank, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, validation=replace(recipe.validation, every=2))
    capped = [{"score": 10.0, "iou": iou} for iou in (0.2, 0.4, 0.3)]
    assert best_of(capped, bank, recipe, tmp_path / "iou") == 4
    assert best_of([{"score": 10.0}] * 3, bank, recipe, tmp_path / "later") == 6


def test_ties_are_told_apart_after_a_stop_as_without_one(bank: Bank, recipe: Recipe, tmp_path: Path) -> None:
    first = replace(
        recipe, validation=replace(recipe.validation, every=2), optim=replace(recipe.optim, steps=2)
    )
    longer = replace(first, optim=replace(first.optim, steps=4))
    assert best_of([{"score": 10.0, "iou": 0.5}], bank, first, tmp_path) == 2
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert best_of([{"score": 10.0, "iou": 0.4}], bank, longer, tmp_path) == 2
    del last["best_iou"]  # as of an older version
    torch.save(last, tmp_path / "last.ckpt")
    assert best_of([{"score": 10.0, "iou": 0.4}], bank, longer, tmp_path) == 4


@pytest.fixture
def listening() -> Iterator[None]:
    """Ctrl-C is heard, as in a terminal; what a shell starts in the background is born deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_lets_the_step_end_and_keeps_it(bank: Bank, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, keep_every=100)
    whole = Trainer(recipe, bank, tmp_path / "whole").run()
    task = PressedTask(3)
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, bank, tmp_path / "stopped", task=task).run()
    assert task.asked == 3
    assert torch.load(tmp_path / "stopped" / "last.ckpt", weights_only=True)["step"] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = Trainer(recipe, bank, tmp_path / "stopped").run().state_dict()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.state_dict().items())


@pytest.mark.usefixtures("listening")
def test_ctrl_c_twice_stops_at_once(bank: Bank, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, bank, tmp_path, task=PressedTask(3, times=2)).run()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["step"] == 2  # kept every two steps


def test_terms_and_scores_become_columns_as_they_appear_and_rows_past_the_resume_step_go(
    tmp_path: Path,
) -> None:
    log = Log(tmp_path / "log.csv", 0)
    log.add(Progress(1, 3, 0.5, 1e-3, 0.1, {}, {"focal": 0.25}))
    log.add(Progress(2, 3, 0.4, 1e-3, 0.2, {"score": 7.0}, {"focal": 0.2, "dice": 0.1}))
    log.add(Progress(3, 3, 0.3, 1e-3, 0.3, {}, {"focal": 0.1}))
    Log(tmp_path / "log.csv", 2).add(Progress(3, 3, 0.35, 1e-3, 0.3, {}, {"focal": 0.15}))
    names, rows = read_log(tmp_path / "log.csv")
    assert names == ["step", "loss", "rate", "seconds", "loss_focal", "loss_dice", "score"]
    assert [row["loss_focal"] for row in rows] == ["0.25", "0.2", "0.15"]
    assert [row["score"] for row in rows] == ["", "7.0", ""]


def test_a_term_that_is_switched_off_is_neither_learned_nor_logged(
    bank: Bank, recipe: Recipe, tmp_path: Path
) -> None:
    seen: dict[str, dict[str, float]] = {}
    recipe = replace(recipe, optim=replace(recipe.optim, steps=1))
    for name, terms in (("with", {}), ("without", {"dice": 0.0, "quality": 0.0})):
        part = replace(recipe, loss=replace(recipe.loss, terms=terms))
        Trainer(part, bank, tmp_path / name).run(lambda p, name=name: seen.update({name: p.terms}))
    assert set(seen["with"]) == {"focal", "dice", "quality"}
    assert "dice" not in seen["without"]
    assert seen["with"]["focal"] == seen["without"]["focal"]
    with pytest.raises(InputError, match=r"'dise'.*focal, dice, quality"):
        Trainer(
            replace(recipe, loss=replace(recipe.loss, terms={"dise": 1.0})), bank, tmp_path / "typo"
        ).run()


def test_a_backend_that_cannot_be_trained_is_refused_with_those_that_can() -> None:
    with pytest.raises(InputError, match=r"'nothing' cannot be trained.*cfr-icl"):
        task_for("nothing")


def test_samples_follow_from_their_index(bank: Bank) -> None:
    options = SampleOptions(size=32, suem=1.0, superpixels=0.5)
    one, other = (Samples(bank, options, 7, 50) for _ in range(2))
    other[3]
    for key, value in one[11].items():
        assert torch.equal(value, other[11][key]), key
    assert one[11]["truth"].sum() > 0
    assert one[11]["image"].min() >= 0
    assert one[11]["image"].max() <= 1


def test_the_first_click_lies_on_the_object(bank: Bank) -> None:
    samples = Samples(bank, SampleOptions(size=32, suem=0.0, close=0.0), 1, 40)
    for i in range(40):
        row, col, _ = samples[i]["clicks"][0].int().tolist()
        assert samples[i]["truth"][0, row, col] == 1


def test_a_window_that_cuts_the_object_knows_its_whole_area() -> None:
    labels = np.zeros((100, 100), np.int32)
    labels[10:90, 10:90] = 1
    source = picture(np.zeros((100, 100), np.uint8), labels)
    assert source is not None
    rng = np.random.default_rng(0)
    areas = [draw_cut(source, 32, rng, close=False) for _ in range(20)]
    assert all(cut.full_area >= np.count_nonzero(cut.labels == 1) * 0.8 for cut in areas)
    logits = torch.full((1, 1, 4, 4), 9.0)
    truth = torch.ones(1, 1, 4, 4)
    assert expected_iou(logits, truth, torch.tensor([64.0])).item() == pytest.approx(0.25)


def test_the_rate_warms_up_stays_and_falls() -> None:
    optim = OptimRecipe(steps=100, rate=1.0, warmup=10, decay_from=60)
    rates = [rate_at(step, optim) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[10:61]) == {1.0}
    assert all(a > b for a, b in pairwise(rates[60:]))
    assert rates[-1] == pytest.approx(0.01)


def test_a_recipe_names_its_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    with pytest.raises(InputError, match="no recipe at"):
        read_recipe(file)
    file.write_text('name = "x"\n')
    with pytest.raises(InputError, match=r"\[\[data\]\]"):
        read_recipe(file)
    file.write_text('name = "x"\n[optim]\nsteeps = 3\n[[data]]\npath = "a.zip"\n')
    with pytest.raises(InputError, match=r"'steeps'.*steps"):
        read_recipe(file)
    data = '[[data]]\npath = "a.zip"\n'
    for wrong, said in (
        ("[optim]\nsteps = 2.5", "steps in .optim. must be a whole number, got 2.5"),
        ('[optim]\nrate = "high"', "rate in .optim. must be a number"),
        ("[loss]\nicl = 1", "icl in .loss. must be true or false"),
        ("scenes = 3", "scenes. must be a table"),
    ):
        file.write_text(f'name = "x"\n{wrong}\n{data}')
        with pytest.raises(InputError, match=said):
            read_recipe(file)
    file.write_bytes(b'name = "\xff"\n')
    with pytest.raises(InputError, match="cannot be read as TOML"):
        read_recipe(file)
    file.write_text(f'name = "x"\ndevices = "auto"\n[optim]\nrate = 1\n{data}')
    assert read_recipe(file).optim.rate == 1


def test_the_recipes_in_the_repository_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "recipes"
    found = [read_recipe(path) for path in sorted(folder.glob("*.toml"))]
    assert any(recipe.name == "cfr-icl-starter" for recipe in found)


@pytest.mark.parametrize("rule", ["cocolvis", "sbd"])
def test_published_samples_have_clicks_on_their_objects(bank: Bank, rule: Rule) -> None:
    one, other = (PublishedSamples(bank, rule, 3, 30, size=128, max_clicks=4) for _ in range(2))
    other[1]
    for i in range(12):
        sample = one[i]
        assert torch.equal(sample["image"], other[i]["image"])
        for row, col, order in sample["clicks"][:4].int().tolist():
            assert order == -1 or sample["truth"][0, row, col] == 1
        for row, col, order in sample["clicks"][4:].int().tolist():
            assert order == -1 or sample["truth"][0, row, col] == 0


@pytest.mark.parametrize("rule", ["cocolvis", "sbd"])
def test_published_samples_follow_from_their_index_whatever_the_step_draws(bank: Bank, rule: Rule) -> None:
    samples = PublishedSamples(bank, rule, 3, 60, size=64, max_clicks=4, with_suem=False)
    alone = [samples[i]["image"] for i in range(60)]
    masks = set()
    for number, batch in enumerate(ahead(samples, [range(i, i + 4) for i in range(0, 60, 4)], 2)):
        torch.manual_seed(7)  # as every step does, while threads make the samples of those after it
        masks.add(float(torch.nn.functional.dropout(torch.ones(1000, 1000)).sum()))
        assert torch.equal(batch["image"], torch.stack(alone[4 * number : 4 * number + 4]))
    assert len(masks) == 1


def test_an_unknown_sampling_is_refused_with_the_valid_ones(
    bank: Bank, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="'windows', 'first-click', 'cocolvis', 'sbd' or 'mst'"):
        Trainer(replace(recipe, sampling="cocolvi"), bank, tmp_path).run()
    with pytest.raises(InputError, match="shuem"):
        Trainer(replace(recipe, samples={"shuem": 1}), bank, tmp_path).run()
