"""Which channels of an image the models see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_iseg.cli.common import whole_numbers
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.images.files import Opened


def channel_options(opened: Opened, bands: str | None = None) -> dict[str, Any]:
    """Colour, channel axis and bands of an image, as sessions and runs take them.

    Parameters
    ----------
    bands : "3,2,1", counted from 1; None: those that the file calls red, green and blue, or its first ones

    Raises
    ------
    InputError
        For more than three bands, or bands that the image does not have.
    """
    from napari_iseg.images.scene import named_colours

    if not opened.rgb and opened.channel_axis is None:
        if bands is not None:
            raise InputError(f"{opened.path} has one channel only; leave --bands out.")
        return {"rgb": False}
    first = opened.image[0] if isinstance(opened.image, list) else opened.image
    axis = first.ndim - 1 if opened.rgb else opened.channel_axis
    if bands is None:
        colours = None if opened.rgb else named_colours(opened.path)
        if colours is None:
            return {"rgb": opened.rgb or None, "channel_axis": opened.channel_axis}
        return {"channel_axis": axis, "bands": list(colours)}
    chosen, count = whole_numbers(bands, "--bands", "3,2,1"), first.shape[axis]
    if len(chosen) > 3:
        raise InputError(f"--bands {bands} names {len(chosen)} channels; give one to three, counted from 1.")
    if not all(1 <= band <= count for band in chosen):
        raise InputError(f"--bands {bands} is outside the {count} channels of {opened.path}, counted from 1.")
    return {"channel_axis": axis, "bands": [band - 1 for band in chosen]}
