"""torchvision, or one sentence where it is not of torch's build."""

from __future__ import annotations

from napari_iseg.errors import IsegError
from napari_iseg.nn.triton_guard import keep_triton_out


def need_torchvision() -> None:
    """Load torchvision; to be called before timm or segment-anything, which need it, are imported.

    Raises
    ------
    IsegError
        When it is missing, or built for another torch, as one of CUDA beside a torch for the CPU.
    """
    keep_triton_out()
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError as error:
        raise IsegError(
            f"{error.name} is missing; install torch and torchvision from the same index."
        ) from error
    except Exception as error:  # what does not fit shows itself as an error of any kind
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise IsegError(
            f"torchvision does not load ({first}): torch and torchvision are of different builds; install "
            "both from the same index."
        ) from error
