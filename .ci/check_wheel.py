"""Check that a built wheel holds what a user needs offline, and nothing that only we need."""

from __future__ import annotations

import sys
import tomllib
import zipfile
from pathlib import Path

LIMIT = 40_000_000  # bytes; the starter weights are the largest part
NEEDED = [
    "napari_iseg/__init__.py",
    "napari_iseg/py.typed",
    "napari_iseg/napari.yaml",
    *(
        f"napari_iseg/_assets/sample_data/{n}{s}.tif"
        for n in ("cells", "organelles", "aerial")
        for s in ("", "_labels")
    ),
]


def problems(path: Path) -> list[str]:
    """What is wrong with the wheel at ``path``, one sentence each."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        found = [f"{name} is missing" for name in NEEDED if name not in names]
        found += [f"{name} does not belong in a wheel" for name in names if _foreign(name)]
        cards = [name for name in names if name.endswith("card.toml") and "_assets/models/" in name]
        starters = [name for name in cards if "starter" in name]
        found += [] if starters else ["there is no starter model"]
        for card in starters:
            weights = card.replace("card.toml", tomllib.loads(wheel.read(card).decode())["weights"])
            found += [] if weights in names else [f"{weights} is missing"]
        entry = next((name for name in names if name.endswith("entry_points.txt")), None)
        text = wheel.read(entry).decode() if entry else ""
        found += [
            f"no entry point {point}" for point in ("napari.manifest", "console_scripts") if point not in text
        ]
    if path.stat().st_size > LIMIT:
        found.append(f"it has {path.stat().st_size / 1e6:.0f} MB, more than {LIMIT / 1e6:.0f}")
    return found


def _foreign(name: str) -> bool:
    """Caches, tests and scripts that slipped in."""
    return "__pycache__" in name or name.endswith(".pyc") or name.startswith("tests/") or "/.git" in name


if __name__ == "__main__":
    complaints = problems(Path(sys.argv[1]))
    for complaint in complaints:
        print(f"{sys.argv[1]}: {complaint}", file=sys.stderr)
    if complaints:
        sys.exit(1)
    print(f"{sys.argv[1]}: models, sample data, manifest and types are in it")
