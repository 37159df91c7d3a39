"""Where an image layer came from, as a session records it, and the way back from that record to a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from napari_iseg.errors import InputError
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.scene import image_shape

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

SPACE = ("scale", "translate", "units")  # of a layer, and in a session's record


@dataclass(frozen=True)
class Origin:
    """What a session knows of its image.

    Attributes
    ----------
    name : of the layer
    path, reader : the file and the plugin that read it; "" for an image without a file
    sample : (plugin, key) of File > Open Sample, or ()
    shape : of the labels: leading axes, rows, cols
    plane_axes : which axes of the image rows and cols are; None for the last two
    channels : whether chosen channels of an axis were looked at, which a layer cannot say
    space : scale, translate and units as they were when it was last worked on, in the order of ``shape``
    """

    name: str = ""
    path: str = ""
    reader: str = ""
    sample: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    plane_axes: tuple[int, int] | None = None
    channels: bool = False
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @classmethod
    def of_layer(cls, image: Image) -> Origin:
        """That of a layer in the viewer."""
        source = image.source
        path = source.path or ""
        if path and not _is_address(path):
            path = str(Path(path).absolute())  # as the session may be opened from another folder
        return cls(image.name, path, source.reader_plugin or "", tuple(source.sample or ()))

    @classmethod
    def of_session(cls, info: Mapping[str, Any], folder: Path) -> Origin:
        """That of a session: ``info`` is the content of its session.toml.

        Raises
        ------
        InputError
            When it does not say what the labels' shape is.
        """
        image, options = info.get("image", {}), info.get("image", {}).get("options", {})
        try:
            shape = tuple(int(size) for size in info["labels"]["shape"])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{folder} is no session of napari-iseg: it does not say its shape.") from None
        axes = options.get("plane_axes")
        return cls(
            str(image.get("name", "")),
            _found(str(image.get("path", "")), folder),
            str(image.get("reader", "")),
            tuple(image.get("sample", ())),
            shape,
            (int(axes[0]), int(axes[1])) if axes else None,
            "channel_axis" in options or "bands" in options,
            {name: info["labels"][name] for name in SPACE if name in info["labels"]},
        )

    def record(self) -> dict[str, Any]:
        """For session.toml; the path is recorded beside it."""
        known = {"name": self.name, "reader": self.reader, "sample": list(self.sample)}
        return {key: value for key, value in known.items() if value}

    def axes_in(self, image: Image) -> PlaneAxes | None:
        """The plane's axes in a layer, or None when the layer has another shape than the session's image."""
        if image.ndim != len(self.shape) or image.ndim < 2:
            return None
        rows, cols = self.plane_axes or (image.ndim - 2, image.ndim - 1)
        axes, shape = PlaneAxes(image.ndim, rows, cols), image_shape(image)
        fits = tuple(shape[axis] for axis in (*axes.leading, rows, cols)) == self.shape
        return axes if fits else None

    def is_that_of(self, image: Image) -> bool:
        """Whether a layer is the recorded image: same file or sample, and a shape that fits."""
        other = Origin.of_layer(image)
        same_file = bool(self.path) and bool(other.path) and _same(self.path, other.path)
        same = same_file or (bool(self.sample) and self.sample == other.sample)
        return same and self.axes_in(image) is not None

    def open_in(self, viewer: napari.Viewer) -> Image:
        """Open the recorded image as it was opened then; the layer that the session was made on.

        Raises
        ------
        InputError
            It is not there any more, or is another one; the sentence says what to do.
        """
        from napari.layers import Image

        what = f"The image of this session, {self.path or self.name or 'an image without a file'},"
        remedy = "open that image, choose it in the dock, and open the session again"
        if self.path and (_is_address(self.path) or Path(self.path).exists()):
            layers = _open_file(viewer, self.path, self.reader)
        elif len(self.sample) == 2 and not self.path:
            layers = _open_sample(viewer, *self.sample)
        elif self.path:
            raise InputError(f"{what} is not there any more; put it back, or {remedy}.")
        else:
            raise InputError(f"{what} was not opened from a file; {remedy}.")
        fitting = [layer for layer in layers if isinstance(layer, Image) and self.axes_in(layer) is not None]
        if not fitting:
            shape = " x ".join(map(str, self.shape))
            raise InputError(f"{what} does not have the shape {shape} of the session any more; {remedy}.")
        for layer in fitting:
            self._place(layer)
        return next((layer for layer in fitting if layer.name == self.name), fitting[0])

    def _place(self, layer: Image) -> None:
        """Give a layer what was set by hand and is not in its file."""
        axes = self.axes_in(layer)
        assert axes is not None, "an image that fits"
        order = [*axes.leading, axes.rows, axes.cols]
        for name, recorded in self.space.items():
            now = list(getattr(layer, name))
            wanted = list(now)
            for axis, value in zip(order, recorded, strict=True):
                wanted[axis] = now[axis] if value == "" else value  # pixels have no unit in a record
            if name == "scale":  # a session knows no directions
                wanted = [math.copysign(new, old) for new, old in zip(wanted, now, strict=True)]
            if list(map(str, wanted)) != list(map(str, now)):  # napari warns of units that are set again
                setattr(layer, name, wanted)


def _open_file(viewer: napari.Viewer, path: str, reader: str) -> list[Any]:
    """The layers of a file, by the plugin that read it then or, where that is gone, by any."""
    from napari.errors import MultipleReaderError, NoAvailableReaderError, ReaderPluginError

    from napari_iseg.widgets.scene_file import READER, add_scene, read_bands

    if reader.startswith(READER):
        return [add_scene(viewer, Path(path), read_bands(reader.removeprefix(READER)))]
    failures = (MultipleReaderError, NoAvailableReaderError, ReaderPluginError, ValueError, OSError)
    for plugin in dict.fromkeys((reader or None, None, "napari")):
        try:
            return list(viewer.open(path, plugin=plugin, stack=False))
        except failures as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise InputError(f"The image of this session, {path}, cannot be read ({reason}).")


def _open_sample(viewer: napari.Viewer, plugin: str, key: str) -> list[Any]:
    try:
        return list(viewer.open_sample(plugin, key))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"The sample {key!r} of {plugin}, on which this session was made, is not there any more; "
            "install that plugin."
        ) from error


def _found(path: str, folder: Path) -> str:
    """The recorded path, or the file of that name beside or in the session's folder (moved together)."""
    if not path or _is_address(path):
        return path
    name = Path(path).name
    places = (Path(path), folder.parent / name, folder / name)
    return str(next((place for place in places if place.exists()), path))


def _is_address(path: str) -> bool:
    return len(urlsplit(path).scheme) > 1  # one letter is a drive of Windows


def _same(one: str, other: str) -> bool:
    if _is_address(one) or _is_address(other):
        return one == other
    return Path(one).resolve() == Path(other).resolve()
