"""Clicks on disk beside a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_iseg.errors import InputError, SaveError
from napari_iseg.fewshot.kept_clicks import keep_clicks, kept_clicks
from napari_iseg.prompts import Click

CLICKS = {(0, 3): [(1, Click(2.5, 4.0)), (2, Click(0, 1, False))], (1, 0): [(1, Click(7, 7))]}


def test_clicks_come_back_as_they_were_kept(tmp_path: Path) -> None:
    assert kept_clicks(tmp_path) == {}
    keep_clicks(tmp_path, CLICKS)
    assert kept_clicks(tmp_path) == CLICKS
    keep_clicks(tmp_path, {})
    assert kept_clicks(tmp_path) == {}


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    keep_clicks(tmp_path, CLICKS)
    file = tmp_path / "clicks.json"
    file.write_text(file.read_text()[:-4])
    with pytest.raises(InputError, match="is damaged; delete it"):
        kept_clicks(tmp_path)
    with pytest.raises(SaveError, match="could not be written"):
        keep_clicks(file, CLICKS)  # no folder
