"""Memory does not grow with the data: the operating system refuses what is over the limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if sys.platform == "linux":

    def test_20_gb_within_2_gb(tmp_path: Path) -> None:
        script = Path(__file__).with_name("memory_script.py")
        ended = subprocess.run(
            [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert int(ended.stdout) < 1000, "MB at the most"
