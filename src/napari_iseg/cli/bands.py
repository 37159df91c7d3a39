"""Which channels of an image the models see, as typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_iseg.cli.common import whole_numbers
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.images.files import Opened


def typed_channels(opened: Opened, bands: str | None = None) -> dict[str, Any]:
    """`napari_iseg.images.scene.channel_options` of bands as they are typed: "3,2,1", counted from 1."""
    from napari_iseg.images.scene import channel_options

    if bands is not None and not opened.rgb and opened.channel_axis is None:
        raise InputError(f"{opened.path} has one channel only; leave --bands out.")
    numbers = None if bands is None else whole_numbers(bands, "--bands", "3,2,1")
    return channel_options(opened, None if numbers is None else [number - 1 for number in numbers])
