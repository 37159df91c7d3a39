"""One sentence for every way in which a checkpoint file can be damaged."""

from __future__ import annotations

from napari_iseg.errors import CheckpointError


def damaged(how: str) -> CheckpointError:
    """The error that says ``how`` a file is damaged, to be raised."""
    return CheckpointError(f"The checkpoint is damaged: {how}; download or copy it again.")
