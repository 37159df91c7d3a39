"""Images of all kinds: the mask lies where the click was, on the plane that was shown."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_iseg.widgets import scene
from napari_iseg.widgets.placement import PlaneAxes

from .napari_versions import camera_of, canvas_size, grid_of

RANDOM = np.random.default_rng(1)


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 255, shape, dtype=np.uint8)


def world_centre(layer) -> np.ndarray:
    """World position of the centre of a labels layer's object."""
    return np.asarray(layer.data_to_world(np.argwhere(np.asarray(layer.data)).mean(0)))


def check_click(bench, image, point, within: float = 1.5) -> None:
    """Click at a data position; mask (within so many pixels), point and committed labels must lie there."""
    world = np.asarray(image.data_to_world(point), float)
    bench.click(point)
    assert bench.editor.session is not None, bench.dock.status.text()
    layers = bench.editor.layers
    size = max(abs(float(s)) for s in image.scale)
    np.testing.assert_allclose(world_centre(layers.current), world, atol=within * size)
    np.testing.assert_allclose(layers.points.data_to_world(layers.points.data[0]), world, atol=1e-6)
    bench.do("commit")
    committed = layers.committed
    data = np.asarray(committed.data[0] if committed.multiscale else committed.data)
    found = np.asarray(committed.data_to_world(np.argwhere(data).mean(0)))
    np.testing.assert_allclose(found, world, atol=within * size)
    for layer in (layers.current, layers.points, committed):
        assert layer.units == image.units
        assert layer.axis_labels == image.axis_labels


SHEAR_AND_TURN = np.array([[0.9, -0.4, 3.0], [0.5, 1.1, -7.0], [0, 0, 1]])
PLACED = {
    "scaled": {"scale": (0.5, 2.0), "units": ("um", "um"), "axis_labels": ("y", "x")},
    "translated": {"translate": (100.0, -40.0)},
    "rotated": {"rotate": 30, "scale": (2.0, 3.0), "translate": (5.0, 6.0)},
    "sheared": {"shear": [0.3], "scale": (2.0, 1.0)},
    "affine": {"affine": SHEAR_AND_TURN, "scale": (0.5, 0.25), "translate": (9.0, 8.0)},
}


@pytest.mark.parametrize("name", PLACED)
def test_placed_planes(bench, name):
    image = bench.viewer.add_image(pixels(120, 100), **PLACED[name])
    bench.open()
    check_click(bench, image, (70, 30))


def test_colour(bench):
    image = bench.viewer.add_image(pixels(120, 100, 3), rgb=True)
    bench.open()
    check_click(bench, image, (70, 30))
    assert bench.editor.layers.committed.data.shape == (120, 100)


def test_a_stack_takes_the_plane_that_is_shown(bench):
    image = bench.viewer.add_image(pixels(6, 120, 100), scale=(4.0, 0.5, 0.5), translate=(10.0, 0, 0))
    bench.open()
    bench.viewer.dims.set_point(0, 10.0 + 4 * 4.0)
    check_click(bench, image, (4, 70, 30))
    assert set(np.argwhere(np.asarray(bench.editor.session.labels.levels[0]))[:, 0]) == {4}
    assert bench.editor.layers.current.data.shape[0] == 1


def test_every_plane_keeps_its_open_object(bench):
    image = bench.viewer.add_image(pixels(6, 120, 100))
    bench.open()
    bench.click((2, 70, 30))
    mask = bench.editor.session.mask
    bench.viewer.dims.set_point(0, 5)
    bench.settle()
    assert bench.editor.clicks == []
    bench.click((5, 20, 20))
    bench.viewer.dims.set_point(0, 2)
    bench.settle()
    assert [(c.row, c.col) for _, c in bench.editor.clicks] == [(70, 30)]
    np.testing.assert_array_equal(bench.editor.layers.current.data[0], mask)
    assert bench.editor.layers.current.data_to_world((0, 0, 0))[0] == image.data_to_world((2, 0, 0))[0]


def test_time_and_depth(bench):
    image = bench.viewer.add_image(pixels(3, 4, 90, 80), scale=(1.0, 5.0, 0.2, 0.2))
    bench.open()
    bench.viewer.dims.set_point((0, 1), (2.0, 15.0))
    check_click(bench, image, (2, 3, 40, 30))
    assert bench.editor.session.plane == (2, 3)


def test_a_plane_in_a_viewer_with_more_axes(bench):
    bench.viewer.add_image(pixels(5, 120, 100))
    image = bench.viewer.add_image(pixels(120, 100), name="flat")
    bench.open()
    assert bench.dock.controller.image is image
    check_click(bench, image, (70, 30))


def test_other_planes_of_a_volume_by_rolled_and_transposed_axes(bench):
    image = bench.viewer.add_image(pixels(60, 70, 80), scale=(3.0, 1.0, 1.0))
    bench.open()
    natural = bench.editor
    bench.viewer.dims.order = (1, 0, 2)
    bench.viewer.dims.set_point(1, 33)
    assert bench.editor is not natural
    check_click(bench, image, (20, 33, 50))
    labels = np.asarray(bench.editor.layers.committed.data)
    assert labels.shape == (60, 70, 80)
    assert set(np.argwhere(labels)[:, 1]) == {33}
    bench.viewer.dims.order = (0, 2, 1)  # transposed: the same planes as in the beginning
    assert bench.editor is natural
    bench.viewer.dims.set_point(0, 30.0)
    check_click(bench, image, (10, 22, 55))


def test_3d_display_is_refused_with_a_hint(bench):
    bench.viewer.add_image(pixels(20, 60, 60))
    dock = bench.open()
    bench.viewer.dims.ndisplay = 3
    assert "2D" in dock.status.text()
    assert bench.editor is None
    dock.controller.perform("undo")
    bench.viewer.dims.ndisplay = 2
    bench.click((10, 30, 30))
    assert bench.editor.session.patch is not None


OUT_OF_PLANES = {"rows follow planes": (1, 0, 2.0), "planes follow rows": (0, 1, 0.05)}


@pytest.mark.parametrize("name", OUT_OF_PLANES)
def test_planes_that_napari_shows_elsewhere_than_they_lie_are_refused_with_a_hint(bench, name):
    row, column, by = OUT_OF_PLANES[name]
    turned = np.eye(4)
    turned[row, column] = by
    bench.viewer.add_image(pixels(8, 60, 70), name="deskewed", affine=turned, scale=(3, 1, 1))
    dock = bench.open()
    assert bench.editor is None
    assert "'deskewed' is turned or sheared out of its planes" in dock.status.text()
    turned[row, column] = by / 100  # as a registration leaves it: less than half a pixel in all
    image = bench.viewer.add_image(pixels(8, 60, 70), affine=turned, scale=(3, 1, 1))
    dock.controller.choose_image(image)
    bench.click((4, 30, 30))
    assert bench.editor.session.plane == (4,)
    turned[row, column] = by
    image.affine = turned  # while it is worked on
    assert bench.editor is None
    image.affine = np.eye(4)
    bench.click((4, 30, 40))
    assert len(bench.editor.session.clicks) == 2


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_lazy_and_multiscale(bench, kind):
    full = pixels(2100, 1800)
    levels = [full, full[::2, ::2], full[::4, ::4]]
    wrap = {"zarr": zarr.array, "dask": da.from_array}[kind]
    image = bench.viewer.add_image(
        [wrap(level) for level in levels], multiscale=True, scale=(0.5, 0.5), contrast_limits=(0, 255)
    )
    bench.open()
    check_click(bench, image, (1500, 700), within=20)  # a pixel of the network is 16 pixels here
    committed = bench.editor.layers.committed
    assert committed.multiscale
    assert not committed.editable


def test_committed_labels_are_shown_anew_after_each_commit(bench):
    bench.viewer.add_image(pixels(2100, 1800))
    bench.open()
    bench.click((300, 300))
    bench.do("commit")
    committed = bench.editor.layers.committed
    first = committed.get_value((300, 300), world=True)
    bench.click((1500, 1500))
    bench.do("commit")
    assert (first[1] if isinstance(first, tuple) else first) == 1
    assert [int(np.asarray(committed.data[0][at, at])) for at in (300, 1500)] == [1, 2]


CHUNKED = {
    "zarr": lambda level: zarr.array(level, chunks=(1024, 1024)),
    "dask": lambda level: da.from_array(level, chunks=512),
    "numpy": np.asarray,
}
PLACED_SCENES = {
    "flipped": {"scale": (-0.5, 2.0), "translate": (10.0, -3000.0)},
    "turned": {"rotate": 30, "scale": (1.0, 1.5)},
    "affine": {"affine": SHEAR_AND_TURN},
}


def seen(viewer, image) -> list[int]:
    """First and last row and column + 1 of what napari has put on its canvas, by its own reckoning."""
    canvas = viewer.window._qt_viewer.canvas
    view = canvas.grid_views[0] if grid_of(viewer).enabled else canvas.view
    width, height = view.rect.size
    corners = [(0, 0), (width, 0), (0, height), (width, height)]
    found = np.asarray([image.world_to_data(canvas._map_canvas2world(corner, view)) for corner in corners])
    size = (image.data[0] if image.multiscale else image.data).shape[-2:]
    low, high = np.floor(found.min(0) + 0.5)[-2:], np.ceil(found.max(0) + 0.5)[-2:]
    return [int(edge) for edge in (*np.clip(low, 0, size), *np.clip(high, 0, size))]


def look(viewer, qtbot, image, point, zoom) -> None:
    """Have the canvas drawn there."""
    camera_of(viewer).center = np.asarray(image.data_to_world(point))[list(viewer.dims.displayed)]
    camera_of(viewer).zoom = zoom
    qtbot.wait(60)


@pytest.mark.parametrize(
    ("kind", "place"), [*((kind, "plain") for kind in CHUNKED), *(("zarr", place) for place in PLACED_SCENES)]
)
def test_what_is_seen_is_neither_chunks_nor_what_was_seen_before(make_napari_viewer, qtbot, kind, place):
    viewer, full = make_napari_viewer(show=True), np.broadcast_to(np.uint8(7), (4000, 6000))
    levels = [CHUNKED[kind](full[:: 2**level, :: 2**level]) for level in range(4)]
    image = viewer.add_image(
        levels, multiscale=True, contrast_limits=(0, 255), **PLACED_SCENES.get(place, {})
    )
    for zoom in (0.1, 1, 8, 4.3):
        look(viewer, qtbot, image, (1803.3, 3305.8), zoom)
        window = scene.visible_window(image, PlaneAxes(2, 0, 1), viewer)
        assert [window.top, window.left, window.bottom, window.right] == pytest.approx(
            seen(viewer, image), abs=1
        )


def test_what_is_seen_of_a_plane_whose_axes_are_turned_in_a_canvas_of_another_size(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    image = viewer.add_image(pixels(3, 400, 600), scale=(4, 1, 2))
    viewer.dims.order = (0, 2, 1)
    viewer.window.resize(1100, 500)
    look(viewer, qtbot, image, (1, 203.3, 305.8), 4)
    for tiles in (False, True):
        viewer.add_image(pixels(400, 600))
        grid_of(viewer).enabled = tiles
        look(viewer, qtbot, image, (1, 203.3, 305.8), 4)
        window = scene.visible_window(image, PlaneAxes(3, 1, 2), viewer)
        assert [window.top, window.left, window.bottom, window.right] == pytest.approx(
            seen(viewer, image), abs=1
        )
    assert (
        scene.visible_window(image, PlaneAxes(3, 0, 2), viewer) is None
    )  # those planes lie across the screen
    viewer.dims.ndisplay = 3
    assert scene.visible_window(image, PlaneAxes(3, 1, 2), viewer) is None


def test_what_is_seen_of_a_chunked_scene_goes_with_the_click(bench):
    levels = [zarr.array(pixels(4096 // by, 4096 // by), chunks=(1024, 1024)) for by in (1, 2, 4)]
    image = bench.viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    bench.open()
    camera_of(bench.viewer).center, camera_of(bench.viewer).zoom = (2000, 1500), 2
    height, width = canvas_size(bench.viewer)
    bench.click((2000, 1500))
    area = bench.editor.session.patch.window
    assert (area.height, area.width) == pytest.approx((height / 2, width / 2), abs=2)
    assert scene.visible_window(image, bench.editor.layers.axes, bench.viewer) == area


def test_moving_the_image_moves_what_belongs_to_it(bench):
    image = bench.viewer.add_image(pixels(120, 100))
    bench.open()
    bench.click((70, 30))
    image.scale = (2.0, 3.0)
    image.translate = (5.0, 7.0)
    np.testing.assert_allclose(world_centre(bench.editor.layers.current), (145, 97), atol=3)
    np.testing.assert_allclose(bench.editor.layers.points.data_to_world((70, 30)), (145, 97))
