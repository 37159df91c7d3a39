"""The command line: the only room that prints.

What is loaded here is little, so that Ctrl-C is heard from the beginning.
"""

from __future__ import annotations

import sys

from napari_iseg.cli.stopping import STOPPED, TERMINATED, like_ctrl_c


def main(arguments: list[str] | None = None) -> None:
    """Run ``napari-iseg``: exit code 0; 2 for bad input, 3 where a part failed, else 1.

    130 after Ctrl-C, 143 after SIGTERM.
    """
    with like_ctrl_c() as terminated:
        try:
            from napari_iseg.cli.app import run

            code = run(sys.argv[1:] if arguments is None else arguments)
        except KeyboardInterrupt:  # before a command began, or when it had ended
            print("napari-iseg: Stopped.", file=sys.stderr)
            code = STOPPED
        if code == STOPPED and terminated():
            code = TERMINATED
    if code:
        raise SystemExit(code)
