"""``napari-iseg models`` as a user and a script call it."""

from __future__ import annotations

import json

import pytest

from napari_iseg import backends
from napari_iseg.cli import main, models
from napari_iseg.errors import IsegError
from napari_iseg.training.export import export
from napari_iseg.training.recipe import Recipe
from napari_iseg.weights.store import Store, load_model

TINY = {"trunk": "conv", "widths": [16, 16, 16, 32], "depths": [1, 1, 1, 1], "sweeps": 4}


@pytest.fixture
def run(monkeypatch, tmp_path, capfd):
    """``run(*arguments) -> (exit code, stdout, stderr)``, with an empty home folder."""
    monkeypatch.setenv("NAPARI_ISEG_HOME", str(tmp_path / "home"))

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            main(["models", *map(str, arguments)])
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return (code, *capfd.readouterr())

    return call


def test_list_shows_whole_names_and_json(run):
    code, out, _ = run("list")
    assert code == 0
    assert "simpleclick-cocolvis-vit-h" in out
    code, out, _ = run("list", "--json")
    cards = {card["name"]: card for card in json.loads(out)}
    assert cards["cfr-icl-cocolvis-vit-h"]["is_local"] is False
    assert run("list", "--here", "--json")[0] == 0


def test_list_gives_each_model_a_line(run):
    head, *lines = run("list")[1].splitlines()
    assert head.split() == ["name", "here", "size", "takes", "licence", "good", "at"]
    names = [card["name"] for card in json.loads(run("list", "--json")[1])]
    assert [line.split()[0] for line in lines] == names
    at = head.index("here")
    assert {line[at : at + 3].strip() for line in lines} == {"yes", "no"}
    assert models._table([Store().find("cfr-icl-starter")], 40).splitlines()[1][-1] == "…"


def test_the_group_alone_shows_its_help_and_no_error(run):
    code, out, error = run()
    assert (code, error) == (0, "")  # as `napari-iseg` by itself
    assert "verify" in out


def test_import_show_verify(run, save_published):
    code, out, _ = run("import", save_published(), "--name", "mine", "--licence", "MIT", "--json")
    assert code == 0
    assert json.loads(out)["is_local"]
    code, out, _ = run("show", "mine")
    assert code == 0
    assert "licence:      MIT" in out
    assert run("verify", "mine")[:2] == (0, "mine: ok\n")
    weights = json.loads(run("show", "mine", "--json")[1])["weights_path"]
    with open(weights, "r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    code, out, _ = run("verify", "--all", "--json")
    assert code == 1
    damaged = [verdict for verdict in json.loads(out) if not verdict["ok"]]
    assert [verdict["name"] for verdict in damaged] == ["mine"]


@pytest.mark.parametrize(
    ("inference", "sentence"),
    [
        ({"colour": 3}, "Unknown inference option 'colour'"),
        ({"size": [0, 0]}, "size must be two whole numbers"),
        ({"thin": "nope"}, "no model 'nope'"),
    ],
)
def test_verify_finds_what_the_model_would_be_refused_for(run, tmp_path, inference, sentence):
    recipe = Recipe("tiny", variant=TINY, inference=inference)
    export(recipe, backends.build("cfr-icl", TINY).state_dict(), tmp_path / "tiny", {})
    code, out, _ = run("verify", tmp_path / "tiny")
    assert code == 1
    assert sentence in out
    with pytest.raises(IsegError, match=sentence):
        load_model(tmp_path / "tiny", device="cpu")


def test_verify_names_cards_that_cannot_be_read(run, tmp_path):
    bad = tmp_path / "home" / "models" / "bad"
    bad.mkdir(parents=True)
    (bad / "card.toml").write_text("name = ")
    code, out, _ = run("verify", "--all", "--json")
    assert code == 1
    assert [verdict["name"] for verdict in json.loads(out) if not verdict["ok"]] == ["bad"]
    for command in ("show", "verify"):
        code, _, err = run(command, "bad")
        assert code == 2
        assert "cannot be read" in err


def test_the_folder_of_a_trained_model_is_shown_checked_and_imported(run, tmp_path):
    folder = tmp_path / "runs" / "tiny"
    net = backends.build("cfr-icl", TINY)
    recipe = Recipe("tiny", variant=TINY, inference={"size": [32, 32]}, card={"licence": "CC0"})
    export(recipe, net.state_dict(), folder, {"steps": 7})
    assert "licence:      CC0" in run("show", folder)[1]
    assert run("verify", folder)[:2] == (0, "tiny: ok\n")
    code, out, _ = run("import", folder, "--json")
    card = json.loads(out)
    assert code == 0
    assert (card["name"], card["licence"], card["training"]["steps"]) == ("tiny", "CC0", 7)
    assert card["inference"]["size"] == [32, 32]
    assert run("verify", "tiny")[0] == 0
    (folder / "card.toml").unlink()
    code, _, err = run("import", folder)
    assert code == 2
    assert "tiny has no card.toml; give the weights file in it" in err


def test_a_card_with_scores_is_shown_set_by_set(run):
    code, out, _ = run("show", "cfr-icl-starter")
    lines = out.splitlines()
    assert code == 0
    assert lines[lines.index("  sets:") + 1].split()[:2] == ["cars_damage:", "objects"]
    assert not any("{" in line for line in lines)
    assert lines[lines.index("licence:      BSD-3-Clause") + 2].startswith("description:  A small network")


def test_a_human_reader_gets_what_it_was_recognised_as(run, save_published):
    code, out, _ = run("import", save_published())
    assert code == 0
    assert out.startswith("published: cfr-icl of own sizes, 0.2 MB, licence unknown\nweights: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "cfr-icl-cocolvis-vit-x"), "did you mean cfr-icl-cocolvis-vit-h"),
        (("fetch", "cfr-icl-cocolvis-vit-h"), "add --accept-licence"),
        (("fetch", "simpleclick-sbd-vit-b", "--accept-licence"), "https://drive.google.com/"),
        (("import", "nowhere.pth"), "cannot be read (No such file or directory); check the path"),
        (("verify",), "either the name of a model or --all"),
        (("verify", "simpleclick-sbd-vit-b"), "are not on this machine"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, arguments, sentence):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_file_of_weights_is_no_models_name(run, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    code, _, err = run("show", str(tmp_path / "model.safetensors"))
    assert code == 2
    assert "napari-iseg models import" in err
    assert "folder that it lies in" not in err
    (tmp_path / "card.toml").write_text("")
    _, _, err = run("verify", str(tmp_path / "model.safetensors"))
    assert f"give the folder that it lies in: {tmp_path}." in err


@pytest.mark.parametrize("command", ["list", "show", "fetch", "import", "verify"])
def test_every_command_has_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: napari-iseg models {command}" in out
