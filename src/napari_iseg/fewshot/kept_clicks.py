"""The clicks that a result was made with, on disk beside it, so that they are there again after a restart."""

from __future__ import annotations

import json
from pathlib import Path

from napari_iseg.errors import InputError
from napari_iseg.fewshot.collect import Clicks
from napari_iseg.files import write_text
from napari_iseg.prompts import Click

_FILE = "clicks.json"


def keep_clicks(folder: Path, clicks: Clicks) -> None:
    """Write (label, click) by plane into the folder of a run.

    Raises
    ------
    SaveError
        When that cannot be done; what was kept before is then still there.
    """
    rows = [[plane, label, c.row, c.col, c.positive] for plane, pairs in clicks.items() for label, c in pairs]
    write_text(folder / _FILE, json.dumps(rows))


def kept_clicks(folder: Path) -> Clicks:
    """What `keep_clicks` wrote last; nothing where it never did.

    Raises
    ------
    InputError
        When the file is damaged.
    """
    path = folder / _FILE
    if not path.exists():
        return {}
    found: dict[tuple[int, ...], list[tuple[int, Click]]] = {}
    try:
        for plane, label, row, col, positive in json.loads(path.read_text()):
            pairs = found.setdefault(tuple(int(index) for index in plane), [])
            pairs.append((int(label), Click(float(row), float(col), bool(positive))))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged; delete it, and make those clicks again.") from error
    return found
