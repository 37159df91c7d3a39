"""Where a label store lies: axes, scale, translation and units, and their OME-Zarr 0.5 form.

The attributes are written here rather than through ome-zarr because importing that package takes a second,
which a viewer would feel at the first click; the tests read every store with ome-zarr and validate it with
ome-zarr-models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_iseg.errors import InputError

DEFAULT_AXES = ("t", "c", "z", "y", "x")
_UNITS = {
    "um": "micrometer",
    "µm": "micrometer",
    "μm": "micrometer",
    "micron": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "s": "second",
    "ms": "millisecond",
    "min": "minute",
    "h": "hour",
}
_NO_UNIT = {"", "pixel", "pixels", "px", "none", "dimensionless"}


@dataclass(frozen=True, slots=True)
class Space:
    """Axes of an nD label array, outermost first, the plane's rows and columns last.

    Attributes
    ----------
    axes : names
    scale : units per pixel, negative where coordinates fall (the rows of a map)
    translate : position of the centre of the first pixel, in units
    units : OME names ("micrometer", "second"), None where there is no unit

    All have one entry per axis.
    """

    axes: tuple[str, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str | None, ...]

    @classmethod
    def make(
        cls,
        ndim: int,
        axes: Sequence[str] | None = None,
        scale: Sequence[float] | None = None,
        translate: Sequence[float] | None = None,
        units: Sequence[object] | None = None,
    ) -> Space:
        """Fill in defaults (axes from the right; scale 1; translation 0; no unit), check lengths."""
        given = {"axes": axes, "scale": scale, "translate": translate, "units": units}
        for name, values in given.items():
            if values is not None and not hasattr(values, "__len__"):
                raise InputError(f"{name} has one entry per axis, {ndim} in all, got {values!r}.")
            if values is not None and len(values) != ndim:
                raise InputError(
                    f"{name} has {len(values)} entries but the labels have {ndim} axes; give one per axis."
                )
        steps, shifts = _finite("scale", scale), _finite("translate", translate)
        if steps is not None and 0 in steps:
            raise InputError(
                f"scale must be positive, or negative for an axis that runs backwards; got {steps}."
            )
        return cls(
            tuple(str(name) for name in axes) if axes is not None else default_axes(ndim),
            steps if steps is not None else (1.0,) * ndim,
            shifts if shifts is not None else (0.0,) * ndim,
            tuple(unit_name(unit) for unit in units) if units is not None else (None,) * ndim,
        )

    def to_record(self) -> dict[str, Any]:
        """The space as plain values (TOML has no null: a missing unit is an empty string)."""
        return {
            "axes": list(self.axes),
            "scale": list(self.scale),
            "translate": list(self.translate),
            "units": [unit or "" for unit in self.units],
        }


def _finite(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    """Values as floats; InputError names what they are of where one is no finite number."""
    if values is None:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{name} must be finite numbers, one per axis; got {tuple(values)}.")
    return numbers


def default_axes(ndim: int) -> tuple[str, ...]:
    """(y, x), (z, y, x), (t, z, y, x), (t, c, z, y, x), and before those a0, a1, ..."""
    known = ("t", "z", "y", "x") if ndim == 4 else DEFAULT_AXES
    extra = tuple(f"a{index}" for index in range(max(0, ndim - 5)))
    return extra + known[-min(ndim, len(known)) :]


def unit_name(unit: object) -> str | None:
    """The OME name of a unit given as a string or a pint unit; None for pixels and nothing."""
    name = str(unit).strip() if unit is not None else ""
    return None if name.lower() in _NO_UNIT else _UNITS.get(name, name)


def ome_axes(space: Space) -> list[dict[str, str]]:
    """The ``axes`` list of OME-Zarr 0.5; names it does not allow are replaced by the defaults."""
    plain = [name.lower() for name in space.axes]
    ndim = len(plain)
    types = [
        "time" if name in ("t", "time") else "channel" if name in ("c", "channel") else "space"
        for name in plain
    ]
    order = [("time", "channel", "space").index(kind) for kind in types]
    valid = len(set(plain)) == ndim and order == sorted(order) and 2 <= types.count("space") <= 3
    if not valid or types.count("time") > 1 or types.count("channel") > 1:
        plain = list(default_axes(ndim))
        types = [{"t": "time", "c": "channel"}.get(name, "space") for name in plain]
    axes = []
    for name, kind, unit in zip(plain, types, space.units, strict=True):
        axes.append({"name": name, "type": kind} | ({"unit": unit} if unit and kind != "channel" else {}))
    return axes


def ome_attributes(space: Space, levels: Sequence[str], name: str) -> dict[str, Any]:
    """The group attributes of a label pyramid whose level k, an array of that name, has every 2^k-th pixel.

    A pixel of level k stands for a block of 2^k x 2^k pixels; its translation is the centre of that block.
    """
    datasets = []
    for level, path in enumerate(levels):
        factors = [1.0] * (len(space.scale) - 2) + [2.0**level] * 2
        scale = [s * f for s, f in zip(space.scale, factors, strict=True)]
        shift = [t + s * (f - 1) / 2 for t, s, f in zip(space.translate, space.scale, factors, strict=True)]
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": path, "coordinateTransformations": transforms})
    multiscale = {"name": name, "axes": ome_axes(space), "datasets": datasets, "type": "nearest"}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], "image-label": {"version": "0.5"}}}


def placed(multiscale: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """An OME multiscale with another space; what it says beside units and transformations stays.

    The levels' transformations state the whole space: one for all of them goes.
    """
    made = ome_attributes(space, [data["path"] for data in multiscale["datasets"]], "")
    (fresh,) = made["ome"]["multiscales"]
    axes = []
    for axis, new in zip(multiscale["axes"], fresh["axes"], strict=True):
        named = {key: value for key, value in axis.items() if key != "unit"}
        axes.append(named | ({"unit": new["unit"]} if "unit" in new else {}))
    datasets = [old | new for old, new in zip(multiscale["datasets"], fresh["datasets"], strict=True)]
    rest = {key: value for key, value in multiscale.items() if key != "coordinateTransformations"}
    return {**rest, "axes": axes, "datasets": datasets}


def space_of(attributes: Mapping[str, Any]) -> Space:
    """The space that a group's OME attributes state; raises KeyError or IndexError when there are none."""
    multiscale = attributes["ome"]["multiscales"][0]
    axes = multiscale["axes"]
    scale, shift = [1.0] * len(axes), [0.0] * len(axes)
    of_level = multiscale["datasets"][0]["coordinateTransformations"]
    for step in (*of_level, *(multiscale.get("coordinateTransformations") or ())):
        if step["type"] == "scale":
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
            shift = [a * b for a, b in zip(shift, step["scale"], strict=True)]
        elif step["type"] == "translation":
            shift = [a + b for a, b in zip(shift, step["translation"], strict=True)]
    return Space.make(
        len(axes), [axis["name"] for axis in axes], scale, shift, [axis.get("unit") for axis in axes]
    )
