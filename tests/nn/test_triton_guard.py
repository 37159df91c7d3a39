"""Triton stays out of a process that draws, and only there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_iseg.nn.triton_guard import _may_crash


@pytest.mark.parametrize(
    ("mapped", "draws", "expected"),
    [
        ("/usr/lib/libLLVM-15.so.1\n", False, True),
        ("/usr/lib/dri/swrast_dri.so\n", True, True),
        ("/usr/lib/libgallium-25.0.so\n", True, True),
        ("/usr/lib/libnvidia-glcore.so.550\n", True, False),  # another driver draws
        ("/usr/lib/libc.so.6\n", True, True),  # a viewer that has not drawn yet
        ("/usr/lib/libc.so.6\n", False, False),
        ("", True, False),  # a system without Triton
    ],
)
def test_only_mesa_is_feared(mapped: str, draws: bool, expected: bool) -> None:
    assert _may_crash(mapped, draws=draws) is expected


@pytest.mark.parametrize("draws", [True, False])
def test_the_import_fails_cleanly_and_only_where_needed(draws: bool) -> None:
    code = (
        "import sys, importlib.util\n"
        f"if {draws}: sys.modules['vispy'] = sys\n"
        "from napari_iseg.nn.triton_guard import keep_triton_out\n"
        "print(keep_triton_out(), keep_triton_out(), sys.modules.get('triton', 'untouched'))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    on_linux = sys.platform == "linux"
    expected = "True True None" if draws and on_linux else "False False untouched"
    assert result.stdout.strip() == expected
