"""A village from the air: gable, hip and flat roofs with shadows, roads, trees, fields with rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from canvas import FINE, LINEN, SIDE, SUN, Scene, ribbon, street_paths, turned
from houses import draw_house, draw_shadow, plan_houses
from noise import Array, bumps
from scipy import ndimage


def make(seed: int = 5) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Image (768, 768, 3) uint8 and its objects: roofs, then fields, tree crowns, all roads as one."""
    scene = Scene(seed)
    _meadow(scene)
    fields = _fields(scene)
    roads = _roads(scene)
    plots = plan_houses(scene)
    _markings(scene)
    trees = _tree_spots(scene)
    for plot in plots:
        draw_shadow(scene, *plot[:4])
    for number, plot in enumerate(plots, start=1):
        draw_house(scene, number, *plot)
    first = len(plots)
    for number, points in enumerate(fields, start=first + 1):
        where, mask = scene.crop(points)
        scene.labels[where][mask & (scene.labels[where] == 0)] = number
    first += len(fields)
    for number, spot in enumerate(trees, start=first + 1):
        _tree(scene, number, *spot)
    scene.labels[roads & (scene.labels == 0)] = scene.labels.max() + 1
    return _photograph(scene)


def _meadow(scene: Scene) -> None:
    """Grass with worn and lush patches."""
    lush = scene.patches[..., None]
    fine = scene.grain[..., None] * 6 + bumps(scene.rng, scene.labels.shape, 7)[..., None] * 5
    scene.image[:] = np.array([112, 124, 82]) + lush * np.array([11, 5, 7]) + fine


def _fields(scene: Scene) -> list[Array]:
    """Ploughed and planted fields with rows and wheel tracks, in the south and the east."""
    outlines = [
        np.array([[560, -9], [548, 250], [780, 262], [780, -9]], float),
        np.array([[546, 262], [532, 508], [780, 530], [780, 274]], float),
        np.array([[530, 520], [516, 780], [780, 780], [780, 542]], float),
    ]
    colours = np.array([[158, 132, 98], [104, 134, 66], [186, 170, 112]], float)
    rows, cols = np.ogrid[: scene.side, : scene.side]
    for outline, colour, angle, period in zip(outlines, colours, (0.05, 1.5, 0.95), (9, 7, 13), strict=True):
        where, mask = scene.crop(outline)
        along = rows[where[0]] * np.cos(angle) + cols[:, where[1]] * np.sin(angle)
        bend = 2.5 * scene.patches[where]
        pattern = (
            9 * np.sin((along + bend) * np.pi / period) + 7 * scene.grain[where] + 6 * scene.patches[where]
        )
        tracks = (np.abs((along % 120) - 60) < 2.5) | (np.abs((along % 120) - 71) < 2.5)
        pattern = pattern - 20 * tracks
        scene.image[where][mask] = (colour + pattern[..., None] * LINEN)[mask]
        scene.busy[where] |= mask
    return outlines


def _roads(scene: Scene) -> npt.NDArray[np.bool_]:
    """Asphalt between pavements; answers where the roads are."""
    roads = np.zeros_like(scene.busy)
    paths = street_paths()
    for path in paths:
        scene.fill(ribbon(path, 26), np.array([168.0, 164, 156]), grain=5)
    for path in paths:
        outline = ribbon(path, 19)
        scene.fill(outline, np.array([104.0, 105, 108]), grain=4)
        where, mask = scene.crop(outline)
        roads[where] |= mask
        where, mask = scene.crop(ribbon(path, 34))
        scene.busy[where] |= mask
    return roads


def _markings(scene: Scene) -> None:
    """What lies on the asphalt, drawn after the drives that lead to it."""
    paths = street_paths()
    for path in paths:
        scene.fill(ribbon(path, 19), np.array([104.0, 105, 108]), grain=4)
    for path in paths:
        for start in range(4, len(path) - 4, 4):
            piece = path[start : start + 2]
            scene.fill(
                ribbon(np.stack([piece[0], piece.mean(axis=0), piece[1]]), 0.9), np.array([206.0, 206, 200])
            )
        for _ in range(5):
            spot = int(scene.rng.integers(5, len(path) - 5))
            heading = path[spot + 1] - path[spot]
            lane = np.array([-heading[1], heading[0]]) / np.hypot(*heading) * 5 * scene.rng.choice([-1, 1])
            colour = scene.rng.choice(
                np.array([[225, 226, 228], [52, 54, 60], [150, 42, 38], [72, 92, 132]], float)
            )
            car = turned(7.2, 17.0, -np.arctan2(heading[0], heading[1]), path[spot] + lane * 0.85)
            scene.shade(car - SUN * 2.5, 0.45)
            scene.fill(car, colour, grain=2)


def _tree_spots(scene: Scene) -> list[tuple[Array, float]]:
    """Places and radii of trees: gardens, a few rows, a copse; not on houses, roads or fields."""
    rng = scene.rng
    spots: list[tuple[Array, float]] = []
    for _ in range(900):
        near = (
            np.array([455.0, 420.0]) + rng.normal(0, 1, 2) * (34, 90)
            if rng.random() < 0.35
            else rng.uniform(0, SIDE, 2)
        )
        radius = float(rng.uniform(6, 15))
        row, col = (int(np.clip(value * FINE, 0, scene.side - 1)) for value in near)
        reach = int((radius + 2) * FINE)
        window = scene.busy[max(row - reach, 0) : row + reach, max(col - reach, 0) : col + reach]
        apart = all(np.hypot(*(near - other)) > 0.75 * (radius + size) for other, size in spots)
        if not window.any() and apart and len(spots) < 110:
            spots.append((near, radius))
    return spots


def _tree(scene: Scene, label: int, centre: Array, radius: float) -> None:
    """A crown: lobed outline, lit on the sunny side, rough, with its shadow on the ground."""
    rng = scene.rng
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    outline = radius * (
        1 + sum(rng.normal(0, 0.06) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (3, 5, 7, 9))
    )
    points = np.stack([outline * np.sin(angle), outline * np.cos(angle)], 1) + centre
    where, shadow = scene.crop(points - SUN * radius * 0.8)
    shadow &= scene.labels[where] <= label - 1
    scene.image[where][shadow] *= np.array([0.5, 0.54, 0.6])
    where, mask = scene.crop(points)
    rows, cols = np.ogrid[where]
    lit = ((rows / FINE - centre[0]) * SUN[0] + (cols / FINE - centre[1]) * SUN[1]) / radius
    leaves = 15 * lit + 12 * scene.grain[where] + 5 * scene.patches[where]
    colour = np.array([70.0, 92, 52]) * rng.uniform(0.8, 1.2) + rng.normal(0, 4, 3)
    scene.image[where][mask] = (colour + leaves[..., None] * LINEN)[mask]
    scene.labels[where][mask] = label


def _photograph(scene: Scene) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Averaged to the sensor's pixels, slightly soft, haze, noise."""
    fine = scene.image.reshape(SIDE, FINE, SIDE, FINE, 3).mean(axis=(1, 3))
    soft = np.stack([ndimage.gaussian_filter(fine[..., band], 0.65) for band in range(3)], axis=2)
    noise = 1.4 * scene.rng.standard_normal((SIDE, SIDE, 1)) + 0.6 * scene.rng.standard_normal(
        (SIDE, SIDE, 3)
    )
    image = soft * 0.94 + np.array([6, 9, 14]) + noise
    labels = scene.labels[::FINE, ::FINE]
    present = np.unique(labels)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), np.searchsorted(present, labels).astype(
        np.uint16
    )
