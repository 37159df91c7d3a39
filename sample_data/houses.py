"""Houses of the aerial scene: where they stand, their roofs and shadows."""

from __future__ import annotations

import numpy as np
from canvas import LINEN, SUN, Scene, ribbon, street_paths, turned
from noise import Array

Plot = tuple[Array, float, float, float, str, Array]  # centre, height, width, angle, roof, colour
ROOFS = np.array(
    [
        [168, 88, 66],
        [148, 72, 56],
        [122, 62, 52],
        [96, 92, 92],
        [132, 126, 120],
        [178, 118, 84],
        [70, 72, 78],
    ],
    float,
)


def plan_houses(scene: Scene) -> list[Plot]:
    """Houses on both sides of the streets, turned as the street is, none on another."""
    rng = scene.rng
    plots: list[Plot] = []
    for path in street_paths():
        spot = 4.0
        while spot < len(path) - 4:
            for side in (-1, 1):
                heading = path[int(spot) + 1] - path[int(spot)]
                heading = heading / np.hypot(*heading)
                big = rng.random() < 0.14
                height, width = (
                    (rng.uniform(52, 66), rng.uniform(64, 96)) if big else rng.uniform((28, 36), (42, 58))
                )
                away = (34 if not big else 26) + height / 2 + rng.uniform(-6, 8)
                centre = path[int(spot)] + side * away * np.array([-heading[1], heading[0]])
                angle = -np.arctan2(heading[0], heading[1]) + rng.normal(0, 0.05)
                outline = turned(height + 8, width + 8, angle, centre)
                where, mask = scene.crop(outline)
                if mask.sum() < 2500 or (scene.busy[where] & mask).any():
                    continue
                scene.busy[where] |= mask
                kind = (
                    "flat"
                    if big
                    else str(rng.choice(["gable", "hip", "wing", "flat"], p=[0.42, 0.26, 0.22, 0.1]))
                )
                colour = (
                    ROOFS[int(rng.integers(len(ROOFS)))]
                    if kind != "flat"
                    else rng.uniform(118, 196) * np.ones(3)
                )
                plots.append((centre, height, width, angle, kind, colour))
                drive = np.array([centre, path[int(spot)]]) + rng.normal(0, 3, 2)
                scene.fill(
                    ribbon(np.stack([drive[0], drive.mean(axis=0), drive[1]]), 9),
                    np.array([158.0, 152, 142]),
                )
            spot += rng.uniform(7.5, 11)
    return plots


def draw_shadow(scene: Scene, centre: Array, height: float, width: float, angle: float) -> None:
    """The wall's shadow: the outline pushed away from the sun."""
    tall = 7 + 0.12 * min(height, width)
    for step in np.linspace(0.3, 1, 6):
        where, mask = scene.crop(turned(height, width, angle, centre - SUN * tall * step))
        dark = scene.image[where] < 80
        mask &= ~dark.all(axis=2)
        scene.image[where][mask] *= np.array([0.5, 0.54, 0.62])


def draw_house(
    scene: Scene,
    label: int,
    centre: Array,
    height: float,
    width: float,
    angle: float,
    kind: str,
    colour: Array,
) -> None:
    """One roof; its faces are as bright as they look at the sun."""
    corners = turned(height, width, angle, centre)
    where, mask = scene.crop(corners)
    scene.labels[where][mask] = label
    if kind == "flat":
        _flat(scene, centre, height, width, angle, colour)
        return
    inset = 0.0 if kind == "gable" else min(height * 0.42, width * 0.4)
    mid_left, mid_right = (corners[0] + corners[3]) / 2, (corners[1] + corners[2]) / 2
    along = (mid_right - mid_left) / np.hypot(*(mid_right - mid_left))
    ridge = (mid_left + along * inset, mid_right - along * inset)
    faces = [
        [corners[0], corners[1], ridge[1], ridge[0]],
        [corners[2], corners[3], ridge[0], ridge[1]],
        [corners[1], corners[2], ridge[1]],
        [corners[3], corners[0], ridge[0]],
    ]
    for face in faces[: 2 if kind == "gable" else 4]:
        _face(scene, np.array(face), centre, colour)
    scene.fill(ribbon(np.stack([ridge[0], (ridge[0] + ridge[1]) / 2, ridge[1]]), 1.3), colour * 1.18, grain=2)
    if kind == "wing":
        _wing(scene, label, centre, height, width, angle, colour)
    chimney = turned(4, 4, angle, centre + along * width * 0.2 + SUN * 3)
    scene.shade(chimney - SUN * 4, 0.4)
    scene.fill(chimney, np.array([92.0, 80, 76]))


def _face(scene: Scene, points: Array, centre: Array, colour: Array) -> None:
    """One slope of a roof, with courses of tiles."""
    outward = points[:2].mean(axis=0) - centre
    towards = float(outward @ SUN / (np.hypot(*outward) * np.hypot(*SUN) + 1e-9))
    where, mask = scene.crop(points)
    rows, cols = np.ogrid[where]
    edge = points[1] - points[0]
    across = (rows * edge[1] - cols * edge[0]) / np.hypot(*edge)
    tiles = 4.5 * np.sin(across * 2 * np.pi / 6.2) + 4 * scene.grain[where] + 4 * scene.patches[where]
    scene.image[where][mask] = (colour * (1 + 0.24 * towards) + tiles[..., None] * LINEN)[mask]


def _wing(
    scene: Scene, label: int, centre: Array, height: float, width: float, angle: float, colour: Array
) -> None:
    """A lower part at right angles that makes the house an L."""
    cos, sin = np.cos(angle), np.sin(angle)
    shift = np.array([height * 0.62, width * 0.27]) @ np.array([[cos, -sin], [sin, cos]])
    corners = turned(height * 0.62, width * 0.4, angle, centre + shift)
    where, mask = scene.crop(corners)
    mask &= scene.labels[where] == 0
    scene.labels[where][mask] = label
    top, bottom = (corners[0] + corners[1]) / 2, (corners[2] + corners[3]) / 2
    for face in ([corners[3], corners[0], top, bottom], [corners[1], corners[2], bottom, top]):
        _face(scene, np.array(face), centre + shift, colour * 0.97)


def _flat(scene: Scene, centre: Array, height: float, width: float, angle: float, colour: Array) -> None:
    """A flat roof with a parapet and machines on it."""
    scene.fill(turned(height, width, angle, centre), colour * 1.12, grain=3)
    scene.fill(turned(height - 4, width - 4, angle, centre), colour * 0.86, grain=4)
    scene.fill(turned(height - 5, width - 5, angle, centre - SUN * 0.7), colour, grain=5)
    for _ in range(int(scene.rng.integers(1, 5))):
        spot = centre + scene.rng.uniform(-0.3, 0.3, 2) * min(height, width)
        unit = turned(*scene.rng.uniform(4, 10, 2), angle, spot)
        scene.shade(unit - SUN * 3, 0.4)
        scene.fill(unit, colour * scene.rng.uniform(0.7, 1.25))
