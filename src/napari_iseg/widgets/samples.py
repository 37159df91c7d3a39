"""File > Open Sample: pictures the project makes itself, and scikit-image's own that ship in its wheel.

Nothing here downloads, and nothing is read before a picture is asked for.
"""

from __future__ import annotations

from typing import Any

LayerData = tuple[Any, dict[str, Any], str]


def layer_data(name: str) -> list[LayerData]:
    """A sample as napari takes it: image, keywords of its layer, kind of layer."""
    from napari_iseg.samples import sample

    picture = sample(name)
    keywords: dict[str, Any] = {"name": picture.name, "rgb": picture.rgb}
    if picture.scale is not None:
        keywords["scale"] = picture.scale
    if picture.units is not None:
        keywords["units"] = picture.units
    return [(picture.image, keywords, "image")]


def cells_made() -> list[LayerData]:
    """A made field of fluorescent cells, (Y, X)."""
    return layer_data("cells")


def organelles_made() -> list[LayerData]:
    """A made stack of organelles as an electron microscope sees them, (Z, Y, X)."""
    return layer_data("organelles")


def aerial_made() -> list[LayerData]:
    """A made aerial scene, (Y, X, 3) RGB."""
    return layer_data("aerial")


def coins() -> list[LayerData]:
    """Greek coins from Pompeii, (Y, X)."""
    return layer_data("coins")


def cell() -> list[LayerData]:
    """One cell floating in a microscope's view, (Y, X)."""
    return layer_data("cell")


def tissue() -> list[LayerData]:
    """Colon tissue with stained nuclei, (Y, X, 3) RGB."""
    return layer_data("tissue")


def retina() -> list[LayerData]:
    """The back of a human eye, (Y, X, 3) RGB."""
    return layer_data("retina")
