"""A recipe with a value that cannot be is refused before anything is loaded, by the entry's name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from napari_iseg.cli import main
from napari_iseg.errors import IsegError
from napari_iseg.training.load import open_sets
from napari_iseg.training.recipe import DataRecipe, LossRecipe, Recipe, ValidationRecipe, read_recipe
from napari_iseg.training.run import train
from napari_iseg.training.start import check_starts


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("[optim]\nbatch = 0", r"batch in \[optim\] must be a number of at least 1, got 0"),
        ("[optim]\nsteps = 0", r"steps in \[optim\] .* at least 1, got 0"),
        ("[validation]\nevery = 0", r"every in \[validation\] .* at least 1, got 0"),
        ("keep_every = 0", r"keep_every must be a number of at least 1, got 0"),
        ("seed = -1", r"seed must be a number of at least 0, got -1"),
        (f"seed = {2**63}", r"seed must be below 9223372036854775808, got 9223372036854775808"),
        ("[samples]\nleast = 0", r"least in \[samples\] must be a number above 0 and at most 1.8, got 0"),
        ("[samples]\nleast = -1", r"least in \[samples\] .* above 0 .* got -1"),
        ("[samples]\nleast = 1.81", r"least in \[samples\] .* at most 1.8, got 1.81"),
        ("workers = -1", r"workers must be a number of at least 0, got -1"),
        ("[scenes]\nweight = -0.5", r"weight in \[scenes\] .* got -0.5"),
        ("[optim]\nrate = 0", r"rate in \[optim\] must be a number above 0, got 0"),
        ("[optim]\nclip = 0.0", r"clip in \[optim\] must be a number above 0, got 0.0"),
        ("[optim]\nsteps = 9\nwarmup = 10", r"warmup in \[optim\] must be at most steps, which is 9, got 10"),
        ("[optim]\nsteps = 9\ndecay_from = 10", r"decay_from in \[optim\] must be at most steps, which is 9"),
        ("[loss.terms]\nfocal = nan", r"focal in \[loss.terms\] must be a finite number, got nan"),
        ("[loss.terms]\nfocal = -1", r"focal in \[loss.terms\] must be a number of at least 0, got -1"),
        ("[scenes]\ncount = 1\nsize = 16", r"size in \[scenes\] must be a number of at least 96, got 16"),
        ("[samples]\nsize = 4000000", r"size in \[samples\] must be at most 8192 pixels, got 4000000"),
        ("[optim]\nrate = nan", r"rate in \[optim\] must be a finite number, got nan"),
        ('[optim]\nonly = "own"', r"only in \[optim\] must be a list of texts, got 'own'"),
        ("[optim]\nonly = [1]", r"only in \[optim\] must be a list of texts, got \[1\]"),
        ('[optim]\ndecay_from = "half"', r"decay_from in \[optim\] must be a whole number, got 'half'"),
        ("[optim]\ndecay_from = 0", r"decay_from in \[optim\] .* at least 1, got 0"),
        ('[validation]\nsets = "a"', r"sets in \[validation\] must be a list of texts, got 'a'"),
        ("[samples]\nsize = 0", r"size in \[samples\] must be a whole number of at least 1, got 0"),
        ('[samples]\nsize = "big"', r"size in \[samples\] .* whole number .* got 'big'"),
        ("[samples]\nsize = true", r"size in \[samples\] .* whole number .* got True"),
        ("[samples]\nsuem = 1.5", r"suem in \[samples\] must be a number from 0 to 1, got 1.5"),
        ("[samples]\ncoarse = -0.1", r"coarse in \[samples\] .* from 0 to 1"),
        ("[samples]\nsuperpixels = 2", r"superpixels in \[samples\] .* from 0 to 1"),
        ('[samples]\nclose = "often"', r"close in \[samples\] .* from 0 to 1, got 'often'"),
        ("[samples]\ncentred = 7", r"centred in \[samples\] .* from 0 to 1"),
        ('precision = "8-bit"', r"precision must be '32-true' or '16-mixed' or 'bf16-mixed', got '8-bit'"),
        ('accelerator = "abacus"', r"accelerator must be 'auto' or 'cpu' or 'cuda', got 'abacus'"),
        ('devices = "all"', r"devices must be a whole number of at least 1, or 'auto', got 'all'"),
        ("devices = 0", r"devices must be a whole number of at least 1, or 'auto', got 0"),
        ("devices = 1.5", r"devices in top level must be a whole number or text, got 1.5"),
        ('variant = ["a"]', r"variant in top level must be text or a table"),
        ('[loss.terms]\nfocal = "x"', r"terms in \[loss\] must be a table of numbers"),
        ("[card]\nlicense = 'MIT'", r"unknown entry 'license' in \[card\]; valid are .*licence"),
        ("[card]\nlicence = 1", r"licence in \[card\] must be text, got 1"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, entries: str, said: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f'name = "x"\n{entries}\n[[data]]\npath = "a.zip"\n')
    with pytest.raises(IsegError, match=said):
        read_recipe(file)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("weight = -1", r"weight in \[\[data\]\] must be a number of at least 0, got -1"),
        ("weight = 0", r"weights of all sets in the recipe are 0"),
        ("step = 0", r"step in \[\[data\]\] must be a number of at least 1, got 0"),
        (
            'kind = "objects"',
            r"kind in \[\[data\]\] must be '' or 'instances' or 'semantic' or 'binary', got 'objects'",
        ),
        ("kind = 3", r"kind in \[\[data\]\] must be text, got 3"),
    ],
)
def test_data_that_cannot_be(tmp_path: Path, entries: str, said: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f'name = "x"\n[[data]]\npath = "a.zip"\n{entries}\n')
    with pytest.raises(IsegError, match=said):
        read_recipe(file)
    file.write_text('name = "x"\n[[data]]\nkind = "instances"\n')
    with pytest.raises(IsegError, match=r"^The recipe lacks the entry 'path' in \[\[data\]\]; add it.$"):
        read_recipe(file)
    file.write_text('[[data]]\npath = "a.zip"\n')
    with pytest.raises(IsegError, match=r"^The recipe lacks the entry 'name' in top level; add it.$"):
        read_recipe(file)
    file.write_text('name = "x"\ndata = 3\n')
    with pytest.raises(IsegError, match=r"must be \[\[data\]\] tables with a path, got 3"):
        read_recipe(file)


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "../up", "a\\\\b"])
def test_a_name_is_one_folder(tmp_path: Path, name: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f'name = "{name}"\n[[data]]\npath = "a.zip"\n')
    with pytest.raises(IsegError, match="name must be the name of one folder"):
        read_recipe(file)


PLAIN = Recipe("x", data=(DataRecipe("unread"),), optim=replace(Recipe("x").optim, steps=1))


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (replace(PLAIN, inference={"windov": "whole"}), "option 'windov'"),
        (replace(PLAIN, inference={"window": "door"}), "'door'"),
        (replace(PLAIN, backend="is5net", inference={"windov": "whole"}), "windov"),
        (
            replace(PLAIN, inference={"threshold": "x"}),
            "threshold in .* must be a number, got 'x'",
        ),
        (replace(PLAIN, inference={"flip": 1}), r"flip in \[inference\] must be true or false, got 1"),
        (replace(PLAIN, inference={"size": ["x", 3]}), r"size in \[inference\] must be a list of numbers"),
        (replace(PLAIN, inference={"size": [0, 0]}), "size must be two whole numbers of at least 1"),
        (replace(PLAIN, inference={"refine_steps": -1}), "refine_steps must be a whole number from 0 on"),
        (replace(PLAIN, inference={"thin": "nope"}), "There is no model 'nope'"),
        (replace(PLAIN, inference={"window": 3}), r"window in \[inference\] must be text, got 3"),
        (replace(PLAIN, inference={"threshold": 5}), r"threshold in \[inference\] .* between 0 and 1, got 5"),
        (replace(PLAIN, inference={"zoom_keep_iou": 2.0}), r"zoom_keep_iou in .* from 0 to 1, got 2.0"),
        (
            replace(PLAIN, loss=LossRecipe(terms={"foo": 1.0})),
            "unknown term 'foo'; valid are focal, dice, quality",
        ),
        (
            replace(PLAIN, loss=LossRecipe(terms={"focal": 0.0, "quality": 0.0})),
            r"terms of the recipe's loss weigh 0.*\[loss.terms\] a weight above 0",
        ),
        (replace(PLAIN, backend="is5net", variant="narrow"), "names no GT encoder"),
        (replace(PLAIN, variant="enormous"), "enormous"),
        (replace(PLAIN, start="no-such-model"), "no-such-model"),
        (replace(PLAIN, sampling="sometimes"), "Unknown sampling 'sometimes'"),
        (
            replace(PLAIN, samples={"shuem": 1}),
            r"\[samples\] do not fit sampling = 'windows': there is no 'shuem'; valid are size, .*centred\.$",
        ),
        (replace(PLAIN, samples={"least": "x"}), r"least in \[samples\] must be a number .* got 'x'"),
        (replace(PLAIN, backend="sam", samples={"shuem": 1}), "valid are size.* objects, box_noise"),
        (replace(PLAIN, backend="ifsenet", samples={"shuem": 1}), "valid are size, supports"),
        (replace(PLAIN, optim=replace(PLAIN.optim, only=("roots",))), "no part 'roots'"),
        (
            replace(PLAIN, devices=99),
            r"Training on 99 GPUs was asked for but \d+ were found; give --devices 1",
        ),
    ],
)
def test_what_needs_no_data_is_refused_before_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, said: str
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("the data were opened")

    monkeypatch.setattr("napari_iseg.training.run.open_sets", opened)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(IsegError, match=said):
        train(recipe, tmp_path / "run", tmp_path)
    assert not (tmp_path / "run").exists()


def test_validation_names_sets_of_the_data(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / "made" / name).mkdir(parents=True)
        for stem in "ab":
            picture = np.zeros((64, 64), np.uint16)
            picture[8:40, 8:40] = 1
            imsave(tmp_path / "made" / name / f"{stem}.png", picture, check_contrast=False)
    recipe = replace(PLAIN, data=(DataRecipe("made"),), validation=ValidationRecipe(sets=("mad",)))
    with pytest.raises(
        IsegError, match=r"\[validation\] name 'mad', which is none of its data; they are made"
    ):
        train(recipe, tmp_path / "run", tmp_path)


def test_a_volume_is_taken_along_one_axis_where_slices_are_held_out(tmp_path: Path) -> None:
    volume = replace(PLAIN, data=(DataRecipe("cells.tif"), DataRecipe("cells.tif", axis=2)))
    with pytest.raises(IsegError, match=r"'cells.tif' along axes 0, 2, .* keep one axis, or set share"):
        open_sets(volume, tmp_path)
    unscored = replace(volume, validation=ValidationRecipe(share=0.0))
    with pytest.raises(IsegError, match=r"'cells.tif' is not in"):  # only that
        open_sets(unscored, tmp_path)


def test_a_start_of_another_stage_names_the_recipe_to_run_first() -> None:
    with pytest.raises(IsegError, match=r"napari-iseg train recipes/a-stage1.toml --out runs/one`"):
        check_starts(replace(PLAIN, start="runs/one/a-stage1"))
    with pytest.raises(IsegError, match=r"guide in \[loss\] 'runs/g/guide' is not there"):
        check_starts(replace(PLAIN, loss=LossRecipe(guide="runs/g/guide")))
    with pytest.raises(IsegError, match=r"'my/file.pth' is not there; give a model's name"):
        check_starts(replace(PLAIN, support_start="my/file.pth"))
    check_starts(replace(PLAIN, start="cfr-icl-starter"))  # a model's name is looked up when it is loaded


def test_the_example_of_the_help_starts_from_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    root = Path(__file__).parents[2]
    for text in (capsys.readouterr().out, (root / "docs" / "how-to" / "train.md").read_text()):
        example = next(word for word in text.split() if word.startswith("recipes/cfr-icl"))
        assert read_recipe(root / example).start is None
