"""Model cards on disk."""

from dataclasses import replace
from pathlib import Path

import pytest

from napari_iseg.backends.cards import CardFile, ModelCard, card_table, read_card, write_card
from napari_iseg.errors import CheckpointError, SaveError

CARD = ModelCard(
    name="some-model",
    backend="cfr-icl",
    variant={"embed_dim": 96, "neck_dims": [1, 2, 3, 4]},
    title="Some “model”",
    prompts=("click", "mask"),
    licence="CC BY 4.0",
    description="Two\nlines.",
    files=(
        CardFile("https://example.org/a.7z.001", archive="7z"),
        CardFile("https://example.org/b", "ab", 3),
    ),
    size_bytes=12,
    inference={"size": (96, 96)},
    scores={"nuclei": {"noc85": 2.5}},
)


def test_card_comes_back_as_written(tmp_path):
    path = write_card(CARD, tmp_path / "some-model")
    back = read_card(tmp_path / "some-model")
    assert back == read_card(path)
    assert card_table(back) == card_table(CARD)
    assert back.files == CARD.files
    assert back.size == CARD.size_bytes == 12
    assert back.folder == tmp_path / "some-model"
    assert [p.name for p in path.parent.iterdir()] == ["card.toml"]


def test_a_model_that_takes_nothing_by_itself_stays_so(tmp_path):
    write_card(replace(CARD, prompts=()), tmp_path)
    assert read_card(tmp_path).prompts == ()


def test_model_is_local_once_its_weights_are_there(tmp_path):
    write_card(CARD, tmp_path)
    card = read_card(tmp_path)
    assert not card.is_local
    card.weights_path.write_bytes(b"x")
    assert card.is_local
    assert not CARD.is_local


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "cannot be read"),
        ("name = " + "[" * 5000, "cannot be read"),
        (f'name = "a"\nbackend = "b"\nvariant = "c"\nfiles{".x" * 5000} = 1', "cannot be read"),
        ('name = "a"\nbackend = "b"', "lacks variant"),
        ('name = "a"\nbackend = "b"\nvariant = "c"\ncolour = 1', "unknown entry 'colour'"),
        ('name = "a"\nbackend = "b"\nvariant = 3', "variant = 3"),
        ('name = 7\nbackend = "b"\nvariant = "c"', "name = 7"),
        ('name = "a"\nbackend = "b"\nvariant = "c"\nprompts = "click"', "prompts"),
        ('name = "a"\nbackend = "b"\nvariant = "c"\nnames = "mine"', "'own' or 'published'"),
        ('name = "a"\nbackend = "b"\nvariant = "c"\n[[files]]\nlink = "x"', "files"),
    ],
)
def test_card_that_cannot_be_used_is_refused(tmp_path, text, words):
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        read_card(tmp_path)


def test_missing_card_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_card(tmp_path / "card.toml")


def test_failed_write_keeps_the_old_card(tmp_path, monkeypatch):
    path = write_card(CARD, tmp_path)
    before = path.read_bytes()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SaveError, match="No space left"):
        write_card(ModelCard("other", "cfr-icl", "vit-b"), tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in Path(tmp_path).iterdir()] == ["card.toml"]
