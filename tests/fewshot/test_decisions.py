"""Accepted and rejected planes: kept on disk, one word per plane, nothing changed when it cannot be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot.decisions import Decisions


def test_the_last_word_counts_and_is_there_again(tmp_path):
    said = Decisions(tmp_path)
    said.accept((3,))
    said.reject((1, 4))
    said.reject((3,))
    said.accept((5,))
    said.forget((5,))
    again = Decisions(tmp_path)
    assert again.accepted == set()
    assert again.rejected == {(3,), (1, 4)}
    assert [path.name for path in tmp_path.iterdir()] == ["decisions.json"]


def test_what_cannot_be_kept_is_not_done(tmp_path, monkeypatch):
    said = Decisions(tmp_path)
    said.accept((3,))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SaveError, match="No space left"):
        said.reject((3,))
    assert (said.accepted, said.rejected) == ({(3,)}, set())
    assert [path.name for path in tmp_path.iterdir()] == ["decisions.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"accepted": [1]}'])
def test_a_damaged_file_is_a_sentence(tmp_path, text):
    (tmp_path / "decisions.json").write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        Decisions(tmp_path)
