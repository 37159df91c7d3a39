"""From what is set in the dock and annotated in the viewer to the request of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_iseg.errors import InputError
from napari_iseg.fewshot.areas import Areas
from napari_iseg.fewshot.base import UnitPredictor
from napari_iseg.fewshot.decisions import Decisions
from napari_iseg.fewshot.frame import Frame, Grid, Plane
from napari_iseg.fewshot.given import GivenImage
from napari_iseg.fewshot.preparing import Request, run_folder
from napari_iseg.fewshot.room import RECORD
from napari_iseg.images import PlaneSource
from napari_iseg.labels.metadata import Space
from napari_iseg.labels.store import LabelStore
from napari_iseg.prompts import Window
from napari_iseg.widgets import scene
from napari_iseg.widgets.fewshot_annotations import Annotations, Overlay
from napari_iseg.widgets.fewshot_outputs import (
    Known,
    Whose,
    digests_of,
    labels_needed,
    make_folder,
    output_path,
)
from napari_iseg.widgets.fewshot_taken import Taken, labelled
from napari_iseg.widgets.fewshot_view import FewShotSettings
from napari_iseg.widgets.placement import PlaneAxes
from napari_iseg.widgets.scene_file import values_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Shapes

_MEMORY = 2 * 10**9
_FEATURES = 10**9  # of encoded images on disk: about 200 windows of 512 x 512
_CORNERS = 64  # of an ellipse


class LabelsNeeded(InputError):
    """A run was refused, as nothing would be left of the labels that an earlier result was made from.

    Parameters
    ----------
    path, labels : of that result, and the name of its labels
    """

    def __init__(self, path: Path, labels: str) -> None:
        self.path, self.labels = path, labels
        super().__init__(
            f"The result made from labels {labels!r} is shown as it is: choose labels {labels!r} to go on "
            "with it, or a new labels layer to begin another."
        )


@dataclass(frozen=True, eq=False)
class Opened:
    """An image layer as planes along an axis, and its pixels, whose intensities are looked up only once."""

    image: Image
    data: Any
    frame: Frame
    source: PlaneSource
    digests: dict[int, tuple[str, str]] = field(default_factory=dict)  # by tile

    @classmethod
    def of(cls, image: Image, axis: int | None) -> Opened:
        """Open a layer; nothing is read yet."""
        frame = frame_of(image, axis)
        source = values_of(image)
        if source is None:
            given = GivenImage(list(image.data) if image.multiscale else image.data, rgb=bool(image.rgb))
            source = given.opener(frame)()
        return cls(image, image.data, frame, source)

    def is_of(self, image: Image, axis: int | None) -> bool:
        """Whether it is still that image, with the same pixels in the same place."""
        return self.image is image and self.data is image.data and self.frame == frame_of(image, axis)

    def output(self, folder: Path, tile: int, whose: Whose) -> Path:
        """Where its result for these labels lies; reads a few pixels the first time."""
        return output_path(folder, str(self.image.name), self._digests(tile), *whose)

    def known(self, folder: Path, tile: int) -> Known:
        """All its results; reads as above."""
        return Known(folder, self._digests(tile))

    def _digests(self, tile: int) -> tuple[str, str]:
        if tile not in self.digests:
            self.digests[tile] = digests_of(self.source, self.frame, tile)
        return self.digests[tile]


class Openings:
    """Opens layers; the last one stays open."""

    def __init__(self) -> None:
        self._last: Opened | None = None

    def open(self, image: Image, axis: int | None) -> Opened:
        """This layer; InputError where it cannot be worked on."""
        if self._last is None or not self._last.is_of(image, axis):
            self._last = Opened.of(image, axis)
        return self._last

    def attempt(self, image: Image | None, axis: int | None) -> Opened | None:
        """This layer if there is one that can be worked on; what is wrong with it is said at Run."""
        try:
            return self.open(image, axis) if image is not None else None
        except InputError:
            return None


def frame_of(image: Image, axis: int | None) -> Frame:
    """The planes of a layer."""
    shape = scene.image_shape(image)
    spacing = [abs(float(step)) for step in image.scale]
    return Frame.of(shape, axis if len(shape) > 2 else None, spacing=spacing)


def plane_axes(frame: Frame) -> PlaneAxes:
    """The axes of a plane."""
    return PlaneAxes(len(frame.shape), frame.rows, frame.cols)


def plane_in_view(viewer: napari.Viewer, image: Image, axis: int | None) -> Plane | None:
    """The plane that the viewer shows of an image that is sliced along ``axis``.

    None where it shows none, as beside the image, in 3D and along other axes.
    """
    try:
        axes = plane_axes(frame_of(image, axis))
        return scene.shown_plane(viewer, image, axes) if scene.shows_axes(viewer, image, axes) else None
    except (InputError, ValueError):
        return None


def request_of(
    viewer: napari.Viewer,
    opened: Opened,
    settings: FewShotSettings,
    annotations: Annotations,
    folder: Path,
    whose: Whose,
    taken: Taken,
) -> Callable[[UnitPredictor], Request]:
    """What makes the request once there is a predictor, which reads pixels: to be called in the worker.

    Parameters
    ----------
    taken : it puts the labels that the run takes in here

    Raises
    ------
    InputError, SaveError
        When something does not fit together, or ``folder`` cannot be made.
    """
    image, frame = opened.image, opened.frame
    planes, region = _where(viewer, image, frame, settings)
    complete: bool | Areas = not settings.partial
    if settings.complete_in is not None:
        complete = areas_of(viewer, settings.complete_in, image, frame)
    painted = annotations.array(image, frame)
    clicks = annotations.given_clicks(viewer, image, frame)
    space, halo = space_of(image, frame), settings.tile // 8
    grid = Grid(frame.plane_shape, settings.tile, halo)
    make_folder(folder)

    def make(predictor: UnitPredictor) -> Request:
        out = opened.output(folder, settings.tile, whose)
        needed = labels_needed(out) if painted is None else None
        if needed is not None and out.exists():
            raise LabelsNeeded(out, needed)
        lost = out.exists() and not (run_folder(out) / RECORD).exists()  # nobody can go on with it
        accepted = Decisions(run_folder(out)).accepted if out.exists() else set()
        result = LabelStore.open(out).levels[0] if accepted else None
        # before the run reads them: what is annotated in between is said to be new once too often, not never
        taken.update(labelled(painted, frame, grid, lambda: False))
        return Request(
            image=lambda: opened.source,
            labels=Overlay(painted, frame, result, accepted),
            frame=frame,
            space=space,
            out=out,
            predictor=lambda _device, _bytes: predictor,
            identity=predictor.identity,
            on_grid=not predictor.needs_image,
            planes=planes,
            region=region,
            tile=settings.tile,
            halo=halo,
            memory=_MEMORY,
            features=_FEATURES,
            clicks=clicks,
            support_planes=sorted({plane for plane, _ in taken} | accepted),
            accepted=accepted,
            complete=complete,
            sequential=settings.sequential,
            existing="overwrite" if lost else "resume",
        )

    return make


def areas_of(viewer: napari.Viewer, shapes: Shapes, image: Image, frame: Frame) -> Areas:
    """The polygons, rectangles and ellipses of a layer in pixels of the image; lines are left out.

    Raises
    ------
    InputError
        When there is none.
    """
    found = []
    for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in ("line", "path"):
            continue
        outline = _ellipse(corners) if kind == "ellipse" else corners
        points = [scene.to_data(viewer, image, scene.to_world(viewer, shapes, c)) for c in outline]
        found.append([(point[frame.rows], point[frame.cols]) for point in points])
    if not found:
        raise InputError(f"The layer {shapes.name!r} holds no polygon; draw one, or choose another region.")
    return Areas.of(found)


def _ellipse(corners: Any) -> Any:
    """Corners of the box around an ellipse as corners of a polygon."""
    first, second, third, _ = (np.asarray(corner, float) for corner in corners)
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, None]
    middle = (first + third) / 2
    return middle + np.cos(angles) * (second - first) / 2 + np.sin(angles) * (third - second) / 2


def _where(
    viewer: napari.Viewer, image: Image, frame: Frame, settings: FewShotSettings
) -> tuple[list[Plane] | None, Window | Areas | None]:
    """Planes and window of the region that is set."""
    if settings.area is not None:
        return None, areas_of(viewer, settings.area, image, frame)
    if settings.region == "visible":
        plane = plane_in_view(viewer, image, settings.axis)
        if plane is None:
            raise InputError(
                "No slice of the image is in view; show slices in 2D, along the axis that is sliced, and "
                "move the sliders to one."
            )
        return [plane], scene.visible_window(image, plane_axes(frame), viewer)
    if settings.region == "range":
        wanted = range(settings.first, settings.last + 1)
        return [plane for plane in frame.planes() if plane[frame.place] in wanted], None
    return None, None


def space_of(image: Image, frame: Frame) -> Space:
    """Where labels of an image lie."""
    unnamed = any(str(name).startswith("-") for name in image.axis_labels)
    return Space.make(
        len(frame.shape),
        None if unnamed else image.axis_labels,
        [float(step) for step in image.scale],
        [float(shift) for shift in image.translate],
        [str(unit) for unit in image.units],
    )
