"""Window tests need a display; without one they are skipped with the reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HAS_DISPLAY = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform in ("win32", "darwin")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what opens a window where there is no display."""
    if HAS_DISPLAY:
        return
    here = Path(__file__).parent
    skip = pytest.mark.skip(reason="needs a display: run under xvfb-run -a -s '-screen 0 1280x1024x24'")
    for item in items:
        if here in item.path.parents:
            item.add_marker(skip)
