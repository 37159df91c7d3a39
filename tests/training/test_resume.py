"""What a run's folder may be gone on with, what is said where it cannot, and what the card tells of it."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.io import imsave

from napari_iseg.backends.cards import read_card
from napari_iseg.errors import CheckpointError, InputError, SaveError
from napari_iseg.training.fit import Trainer
from napari_iseg.training.log import Progress, read_log
from napari_iseg.training.recipe import DataRecipe, OptimRecipe, Recipe, ValidationRecipe
from napari_iseg.training.run import train
from napari_iseg.training.same import claim
from napari_iseg.training.synthetic import random_scene

RECIPE = Recipe(
    "tiny",
    variant={"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 4},
    workers=1,
    keep_every=1,
    samples={"size": 32},
    data=(DataRecipe("made", kind="instances", licence="CC0"),),
    optim=OptimRecipe(steps=2, batch=2, warmup=1),
    validation=ValidationRecipe(every=1, objects=1, max_clicks=1, share=0.5),
    inference={"size": [32, 32], "flip": False},
)
OLD = "('tiny', 'cfr-icl', {'trunk': 'conv'}, 3, 2, {'size': 32})\n"  # as older versions marked a folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name in ("images", "labels"):
        (root / "made" / name).mkdir(parents=True)
    for i in range(4):
        image, labels = random_scene(np.random.default_rng(i), 64)
        imsave(root / "made" / "images" / f"{i}.png", image, check_contrast=False)
        imsave(root / "made" / "labels" / f"{i}.png", labels.astype(np.uint16), check_contrast=False)
    return root


def changed(**entries: Any) -> Recipe:
    """The recipe with some entries replaced; of its tables those named, as optim={"rate": 1}."""
    values = {}
    for key, value in entries.items():
        table = getattr(RECIPE, key)
        values[key] = replace(table, **value) if is_dataclass(table) else value
    return replace(RECIPE, **values)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed(optim={"rate": 1e-3}), r"optim.rate was left out \(its default\) and not 0.001"),
        (changed(optim={"batch": 3}), "optim.batch was 2 and not 3"),
        (changed(loss={"gamma": 1.0}), "loss.gamma was"),
        (changed(loss={"terms": {"dice": 1.0}}), r"loss.terms\S* was"),
        (changed(seed=7), "seed was"),
        (changed(start="cfr-icl-starter"), "start was"),
        (changed(scenes={"count": 3}), "scenes.count was"),
        (changed(samples={"size": 48}), "samples.size was 32 and not 48"),
        (changed(samples={"size": 32, "suem": 0.1}), "samples.suem was"),
        (changed(validation={"share": 0.25}), "validation.share was 0.5 and not 0.25"),
        (changed(data=(replace(RECIPE.data[0], weight=0.5),)), "data 1.weight was"),
        (changed(data=(DataRecipe("other", kind="instances"),)), "data 1.path was 'made' and not 'other'"),
        (changed(data=(*RECIPE.data, DataRecipe("more"))), r"data 2.path was left out .* and not 'more'"),
        (changed(sampling="first-click"), "sampling was"),
    ],
)
def test_what_decides_the_weights_may_not_change(tmp_path: Path, other: Recipe, said: str) -> None:
    claim(RECIPE, tmp_path)
    with pytest.raises(InputError, match=rf"another recipe, in which {said}.*undo that change, or .*--out"):
        claim(other, tmp_path)
    claim(RECIPE, tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        changed(optim={"steps": 9, "decay_from": 4}),
        changed(validation={"every": 7, "objects": 3, "max_clicks": 5, "sets": ("made",)}),
        changed(inference={"flip": True}, card={"licence": "MIT"}, title="T", workers=3, keep_every=5),
        changed(data=(replace(RECIPE.data[0], licence="MIT"),)),
    ],
)
def test_what_does_not_decide_them_may(tmp_path: Path, other: Recipe) -> None:
    claim(RECIPE, tmp_path)
    claim(other, tmp_path)


def test_inference_decides_the_weights_of_first_clicks(tmp_path: Path) -> None:
    claim(changed(sampling="first-click"), tmp_path)
    with pytest.raises(InputError, match=r"inference.flip was False and not True"):
        claim(changed(sampling="first-click", inference={"size": [32, 32], "flip": True}), tmp_path)


def test_a_folder_of_an_older_version_is_compared_by_what_it_holds(tmp_path: Path) -> None:
    old = replace(RECIPE, seed=3, variant={"trunk": "conv"})
    (tmp_path / "recipe.txt").write_text(OLD)
    claim(old, tmp_path)
    claim(replace(old, optim=replace(old.optim, rate=1.0)), tmp_path)  # the rate is not in it
    with pytest.raises(InputError, match="seed was 3 and not 4"):
        claim(replace(old, seed=4), tmp_path)
    (tmp_path / "recipe.txt").write_text("{")
    with pytest.raises(InputError, match=r"another recipe, or its recipe.txt is damaged"):
        claim(old, tmp_path)


def test_a_file_is_no_folder_for_a_run(tmp_path: Path, data: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(SaveError, match=r"run cannot be used \(.*\); give another --out"):
        train(RECIPE, tmp_path / "run", data)
    with pytest.raises(SaveError):  # said before data are looked for
        train(RECIPE, tmp_path / "run", tmp_path / "nowhere")
    assert (tmp_path / "run").read_text() == ""


def test_the_card_tells_of_all_starts_and_of_the_exported_step(tmp_path: Path, data: Path) -> None:
    longer = replace(RECIPE, optim=replace(RECIPE.optim, steps=4))
    first = train(RECIPE, tmp_path, data).training
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.save({**saved, "seconds": 1000.0}, tmp_path / "last.ckpt")
    assert train(RECIPE, tmp_path, data).training["seconds"] == 1000.0  # nothing was left to train
    second = train(longer, tmp_path, data).training
    assert 1000.0 < second["seconds"] < 1300.0
    assert (first["steps"], second["steps"]) == (2, 4)
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)["step"]
    assert second["exported_step"] == best
    torch.save({**torch.load(tmp_path / "best.ckpt", weights_only=True), "step": 3}, tmp_path / "best.ckpt")
    assert train(longer, tmp_path, data).training["exported_step"] == 3
    assert read_card(tmp_path / "tiny").training["steps"] == 4
    assert [row["step"] for row in read_log(tmp_path / "log.csv")[1]] == ["1", "2", "3", "4"]
    with pytest.raises(InputError, match="has taken 4 steps already, more than the 2 asked for"):
        train(RECIPE, tmp_path, data)


def test_a_recipe_that_the_data_refuse_leaves_the_folder_to_the_next(tmp_path: Path, data: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / "bare" / name).mkdir(parents=True)
        for stem in "ab":
            imsave(
                tmp_path / "bare" / name / f"{stem}.png", np.zeros((64, 64), np.uint16), check_contrast=False
            )
    bare = replace(RECIPE, data=(DataRecipe("bare", kind="instances"),))
    with pytest.raises(InputError, match="no object of the minimum area"):
        train(bare, tmp_path / "run", tmp_path)
    assert train(RECIPE, tmp_path / "run", data).name == "tiny"
    with pytest.raises(InputError, match="another recipe"):
        train(bare, tmp_path / "run", tmp_path)


def test_the_card_tells_of_validation_samples_and_loss(tmp_path: Path, data: Path) -> None:
    train(RECIPE, tmp_path, data)
    told = read_card(tmp_path / "tiny").training
    scores = torch.load(tmp_path / "best.ckpt", weights_only=True)["scores"]
    assert told["validation"]["iou"] == pytest.approx(scores["iou"], abs=1e-4)
    assert (told["validation"]["noc"], told["validation"]["max_clicks"]) == (scores["noc"], 1)
    assert told["sampling"] == "windows"
    assert (told["samples"]["size"], told["samples"]["suem"]) == (32, 0.25)
    assert told["loss"]["terms"] == {"focal": 1.0, "dice": 0.0, "quality": 0.1}
    mixed = replace(RECIPE, optim=replace(RECIPE.optim, start_share=0.5))
    told = train(mixed, tmp_path, data).training
    assert "validation" not in told  # other weights than were scored
    assert told["validation_before_start_share"]["iou"] == pytest.approx(scores["iou"], abs=1e-4)


def test_a_checkpoint_that_knows_no_seconds_is_gone_on_with(tmp_path: Path, data: Path) -> None:
    train(RECIPE, tmp_path, data)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del saved["seconds"]
    torch.save(saved, tmp_path / "last.ckpt")
    longer = replace(RECIPE, optim=replace(RECIPE.optim, steps=3))
    assert 0 < train(longer, tmp_path, data).training["seconds"] < 300


def test_the_licence_is_ours_only_where_every_set_has_one(tmp_path: Path, data: Path) -> None:
    one = replace(RECIPE, optim=replace(RECIPE.optim, steps=1))
    assert train(one, tmp_path / "stated", data).licence == "BSD-3-Clause"
    unknown = replace(one, data=(replace(one.data[0], licence=""),))
    assert train(unknown, tmp_path / "un", data).licence == "not stated (the recipe gives none for made)"
    own = replace(unknown, card={"licence": "CC BY 4.0"})
    assert train(own, tmp_path / "un", data).licence == "CC BY 4.0"


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_bit_that_flipped_is_refused_and_not_trained_on_or_exported(
    tmp_path: Path, data: Path, name: str
) -> None:
    train(RECIPE, tmp_path, data)
    saved = torch.load(tmp_path / name, weights_only=True)
    weights = max(saved["net"].values(), key=torch.numel)
    body = bytearray((tmp_path / name).read_bytes())
    body[body.index(bytes(weights.untyped_storage())) + 2] ^= 0x20
    (tmp_path / name).write_bytes(body)
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read \(the checksum of .*delete it"):
        train(RECIPE, tmp_path, data)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path, data: Path, name: str) -> None:
    train(RECIPE, tmp_path, data)
    whole = (tmp_path / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"junk"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{name} cannot be read.*restore it, or delete it"):
            train(RECIPE, tmp_path, data)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("at pos 3")]
)
def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    train(RECIPE, tmp_path, data)
    before = (tmp_path / "last.ckpt").read_bytes()
    save = "lightning_fabric.Fabric.save"

    def full(self: Any, path: Path, state: Any) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(save, full)
    longer = replace(RECIPE, optim=replace(RECIPE.optim, steps=3))
    with pytest.raises(SaveError, match=r"ckpt could not be written \((No space left|at pos).*make room"):
        train(longer, tmp_path, data)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if ".part" in path.name]


def test_only_the_first_of_several_processes_writes_and_tells(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(RECIPE, tmp_path, data)  # the first process, whose card the others read
    for name in ("log.csv", "curves.png"):
        (tmp_path / name).unlink()
    card = (tmp_path / "tiny" / "card.toml").stat().st_mtime_ns
    monkeypatch.setattr("napari_iseg.training.run.is_first_process", lambda: False)
    told: list[Progress] = []
    longer = replace(RECIPE, optim=replace(RECIPE.optim, steps=3))
    answer = train(longer, tmp_path, data, on_step=told.append, on_set=lambda *_: told.append(None))  # type: ignore[arg-type, func-returns-value]
    assert answer.name == "tiny"
    assert not told
    assert not (tmp_path / "log.csv").exists()
    assert not (tmp_path / "curves.png").exists()
    assert (tmp_path / "tiny" / "card.toml").stat().st_mtime_ns == card


def test_a_short_run_may_have_no_free_clicks(tmp_path: Path, data: Path) -> None:
    recipe = replace(RECIPE, loss=replace(RECIPE.loss, free_forwards=0, free_share=1.0))
    assert train(recipe, tmp_path, data).name == "tiny"


def test_the_trainer_counts_its_seconds(tmp_path: Path) -> None:
    assert Trainer(RECIPE, None, tmp_path).seconds == 0  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo's processes are launched as on Linux and macOS")
def test_two_processes_end_as_one_model(tmp_path: Path, data: Path) -> None:
    (tmp_path / "two.toml").write_text(
        'name = "two"\naccelerator = "cpu"\ndevices = 2\nworkers = 1\nkeep_every = 1\n[variant]\n'
        'trunk = "conv"\nwidths = [16, 16, 16, 32]\ndepths = [1, 1, 1, 1]\nsweeps = 4\n[samples]\nsize = 32\n'
        "[optim]\nsteps = 2\nbatch = 1\nwarmup = 1\n[validation]\nobjects = 1\nmax_clicks = 1\nshare = 0.5\n"
        '[[data]]\npath = "made"\nkind = "instances"\n'
    )
    (tmp_path / "iseg.py").write_text("from napari_iseg.cli import main\n\nmain()\n")
    command = [sys.executable, "iseg.py", "train", "two.toml", "--data", str(data), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "two"  # one process alone answers
    assert done.stderr.count("made: ") == 1
    assert len(read_log(tmp_path / "runs" / "two" / "log.csv")[1]) == 2
    assert not [path for path in (tmp_path / "runs" / "two").iterdir() if ".part" in path.name]
