"""Making and reopening sessions: everything that is decided before the first click."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.interactive.history import History
from napari_iseg.interactive.label_check import OwnLabels
from napari_iseg.interactive.session_folder import FORMAT, LABELS, SessionFolder
from napari_iseg.labels.metadata import Space, default_axes
from napari_iseg.labels.store import LabelStore

if TYPE_CHECKING:
    from napari_iseg.images import PlaneSource


@dataclass(slots=True)
class Setup:
    """The parts a session is made of."""

    source: PlaneSource
    labels: LabelStore
    history: History
    folder: SessionFolder | None = None
    threshold: float | None = None
    model: str = ""
    inference: Mapping[str, Any] | None = None


def new_setup(
    image: Any,
    labels: LabelStore | None,
    folder: Path | None,
    image_record: Mapping[str, Any],
    options: dict[str, Any],
) -> Setup:
    """The parts of a new session; see ``Session``."""
    source = wrap(image, options)
    shape = (*source.leading_shape, *source.shape)
    if labels is not None and not isinstance(labels, LabelStore):
        raise InputError(
            f"Objects are committed into a LabelStore, got {type(labels).__name__}; give LabelStore({shape})."
        )
    if labels is not None and labels.shape != shape:
        raise InputError(f"The labels have the shape {labels.shape} but the image needs {shape}.")
    if labels is not None and folder is not None and labels.path is None and labels.next_label() > 1:
        raise InputError(
            "Labels in memory cannot be reopened; give a LabelStore with a path to record a session."
        )
    plane = (0,) * len(source.leading_shape)
    space = labels.space if labels is not None else Space.make(len(shape), _default_axes(source))
    first = labels.next_label() if labels is not None else 1
    made = None
    if folder is not None:
        info = _info(image, labels, shape, space, folder, image_record, options)
        made = SessionFolder.create(folder, info)
        with made.whole_or_not():
            if labels is not None and "path" in info["labels"]:
                labels.sign(info["id"])
            made.journal.append({"start": {"plane": list(plane), "next_label": first}})
            if labels is None:
                labels = OwnLabels(shape, path=made.own_labels, axes=space.axes)
    if labels is None:
        labels = LabelStore(shape, axes=space.axes)
    labels.image_axes = source.axes
    return Setup(source, labels, History(plane, first), made)


def old_setup(folder: Path, image: Any, options: dict[str, Any]) -> Setup:
    """The parts of a session as its folder describes them; see ``Session.open``."""
    found = SessionFolder.open(folder)
    with ExitStack() as refused:
        refused.callback(found.journal.close)
        source = wrap(image, _known_options(image, found.info) | options)
        shape = [*source.leading_shape, *source.shape]
        if shape != list(found.info["labels"]["shape"]):
            raise InputError(
                f"The image has the shape {tuple(shape)} (planes, rows, cols) but the session in {folder} "
                f"belongs to one of {tuple(found.info['labels']['shape'])}; open it with that image."
            )
        axes = _recorded_axes(found.info, source)
        found.info["labels"]["axes"] = list(axes)  # what is written or made again has the right ones
        replayed = found.replay()
        labels = found.restore_labels(replayed)
        labels.image_axes = source.axes
        labels.space = replace(labels.space, axes=axes)
        refused.pop_all()
    return Setup(
        source, labels, replayed.history, found, replayed.threshold, replayed.model, replayed.inference
    )


def wrap(image: Any, options: dict[str, Any]) -> PlaneSource:
    """The image as planes."""
    from napari_iseg.images import PlaneSource

    unknown = sorted(set(options) - {"rgb", "plane_axes", "channel_axis", "bands"})
    if unknown:
        raise InputError(
            f"A session has no option {unknown[0]!r}; of its image there are rgb, plane_axes, channel_axis "
            "and bands."
        )
    return PlaneSource.wrap(image, **options)


def _default_axes(source: PlaneSource) -> tuple[str, ...]:
    """The usual names of an image's axes, in the order of its labels."""
    usual = default_axes(len(source.axes))
    return tuple(usual[axis] for axis in source.axes)


def _recorded_axes(info: Mapping[str, Any], source: PlaneSource) -> tuple[str, ...]:
    """The names in session.toml: OME-Zarr does not hold them all.

    Before sessions had an id, those on other planes than the image's last two axes had the usual names in the
    wrong order.
    """
    names = tuple(str(name) for name in info["labels"].get("axes", ()))
    mistaken = "id" not in info and names == default_axes(len(names))
    return _default_axes(source) if mistaken or len(names) != len(source.axes) else names


def plain(inference: Any) -> dict[str, Any]:
    """A model's inference settings as JSON values."""
    if not is_dataclass(inference):
        return {}
    values = {field.name: getattr(inference, field.name) for field in fields(inference)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _known_options(image: Any, info: dict[str, Any]) -> dict[str, Any]:
    """The recorded options of ``PlaneSource.wrap``; a source that is wrapped already has its own."""
    from napari_iseg.images import PlaneSource

    return {} if isinstance(image, PlaneSource) else dict(info["image"].get("options", {}))


def _info(
    image: Any,
    labels: LabelStore | None,
    shape: tuple[int, ...],
    space: Space,
    folder: Path,
    image_record: Mapping[str, Any],
    options: dict[str, Any],
) -> dict[str, Any]:
    """What session.toml says: how to recognise the image, and how to make the labels again."""
    stored = {"shape": list(shape), **space.to_record()}
    if (
        labels is not None
        and labels.path is not None
        and labels.path.resolve() != (folder / LABELS).resolve()
    ):
        stored["path"] = str(labels.path.resolve())
    described: dict[str, Any] = {"options": {k: _toml(v) for k, v in options.items() if v is not None}}
    described |= {name: value for name, value in image_record.items() if value}
    for name in ("shape", "dtype"):
        if hasattr(image, name):
            described[name] = _toml(getattr(image, name)) if name == "shape" else str(image.dtype)
    return {"format": FORMAT, "id": uuid.uuid4().hex, "image": described, "labels": stored}


def _toml(value: Any) -> Any:
    """An option of ``PlaneSource.wrap`` as TOML knows it: the numbers may be numpy's, several a range."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return int(value) if np.ndim(value) == 0 else [int(v) for v in value]
