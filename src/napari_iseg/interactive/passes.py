"""One pass of the network: crop the windows, run them in one batch, paste the best answer back.

Implements section 3 of the published inference (crop bilinear, mean of the logits of the crop and its mirror
image, sigmoid after the mean, zero outside the crop).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.errors import DeviceError
from napari_iseg.interactive.state import State, Tried
from napari_iseg.interactive.window_grid import WindowGrid, window_grid
from napari_iseg.interactive.zoom import Look, WindowRule
from napari_iseg.prompts import Click, Window, click_array

if TYPE_CHECKING:
    from napari_iseg.backends.model import Model


def run_pass(model: Model, rule: WindowRule, image: Tensor, state: State) -> State:
    """One pass for the newest click of ``state``; the new state has the pass's probability and window.

    Parameters
    ----------
    image : (3, rows, cols) float32 in [0, 1], the area grid of ``state``
    """
    state = rule.rethought(state)
    windows, grid = rule.windows(state), window_grid(model.inference.grid)
    look = rule.look(state, windows[0], _usual(model))
    if len(windows) == 1:
        answers = ask(model, image, state, windows, look)
        scores, weights = np.ones(1, np.float32), np.ones(1, np.float32)
    else:
        answers, scores = ask_scored(model, image, state, windows, look)
        weights = rule.weights(state, answers.numpy(), scores)
    used = [k for k in range(len(windows)) if weights[k] > 0]
    zoom, kept, weights = windows[int(weights.argmax())], [answers[k] for k in used], weights[used]
    chosen = [windows[k] for k in used]
    answer = mean_of_windows(kept, chosen, weights, state.shape, grid)
    again = rule.again(state, answer)
    if again:
        kept += ask(model, image, state, again, _usual(model))
        weights = np.concatenate([weights, np.ones(len(again), np.float32)])
        chosen += again
        answer = mean_of_windows(kept, chosen, weights, state.shape, grid)
    whole = chosen[0]
    for window in chosen[1:]:
        whole = whole.union(window)
    spare, tried = rule.spare(state, answer, windows), state.tried
    if spare:
        found = [_on_grid(grid, answers[k], windows[k]) for k in spare]
        tried = Tried([windows[k] for k in spare], found, scores[[*spare]])
    return replace(state, probability=rule.merge(state, answer, whole), zoom=zoom, tried=tried)


def ask(model: Model, image: Tensor, state: State, windows: Sequence[Window], look: Look) -> Tensor:
    """Probabilities (K, H, W) for K windows shown as ``look`` says."""
    logits = checked(model, model.logits(*_batch(model, image, state, windows, look)))
    return _unflipped(look, logits).sigmoid()


def ask_scored(
    model: Model, image: Tensor, state: State, windows: Sequence[Window], look: Look
) -> tuple[Tensor, npt.NDArray[np.float32]]:
    """As ``ask``, with the network's belief (K,) in each answer (mean of crop and mirror image)."""
    logits, scores = map(partial(checked, model), model.scored(*_batch(model, image, state, windows, look)))
    if look.flip:
        scores = scores.reshape(2, -1).mean(0)
    return _unflipped(look, logits).sigmoid(), np.asarray(scores.float().cpu().numpy(), np.float32)


def checked(model: Model, answer: Tensor) -> Tensor:
    """What a network answered, if it is numbers.

    Raises
    ------
    DeviceError
        For NaN, as half precision or damaged weights give it: it would look like an answer without an object.
    """
    if bool(answer.isnan().any()):
        name = model.card.name
        raise DeviceError(
            f"The model {name!r} answered with NaN instead of numbers; load it with precision='float32', or, "
            f"if that was so already, look with `napari-iseg models verify {name}` whether it is damaged."
        )
    return answer


def mean_of_windows(
    answers: Sequence[Tensor],
    windows: Sequence[Window],
    weights: npt.NDArray[np.float32],
    shape: tuple[int, int],
    grid: WindowGrid,
) -> npt.NDArray[np.float32]:
    """Weighted mean of several windows' answers, at each pixel over the windows that hold it; else zero.

    ``answers`` are K probabilities (h, w), each of its own size, ``weights`` (K,).
    """
    total, cover = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for answer, window, weight in zip(answers, windows, weights, strict=True):
        total[window.slices] += np.float32(weight) * _on_grid(grid, answer, window)
        cover[window.slices] += np.float32(weight)
    return np.divide(total, cover, out=total, where=cover > 0)


def _on_grid(grid: WindowGrid, answer: Tensor, window: Window) -> npt.NDArray[np.float32]:
    """A window's answer (h, w) in pixels of the grid, of the window's shape."""
    resized: npt.NDArray[np.float32] = grid.resized(answer[None, None], window.shape)[0, 0].numpy()
    return resized


def _usual(model: Model) -> Look:
    return Look(model.inference.size, model.inference.flip)


def _batch(
    model: Model, image: Tensor, state: State, windows: Sequence[Window], look: Look
) -> tuple[Tensor, Tensor, Tensor]:
    """Image, previous mask and clicks of all windows, followed by their mirror images if the model flips."""
    grid = window_grid(model.inference.grid)
    images, masks, points, mirrored = [], [], [], []
    for window in windows:
        rows, cols = window.slices
        images.append(grid.resized(image[None, :, rows, cols], look.size))
        # copied, because torch refuses to share read-only memory
        mask = torch.from_numpy(state.probability[rows, cols].copy())
        masks.append(grid.resized(mask[None, None], look.size))
        clicks = [grid.click(click, window, look.size) for click in state.grid_clicks]
        points.append(_points(clicks))
        mirrored.append(_points([Click(c.row, look.size[1] - c.col - 1, c.positive) for c in clicks]))
    stacked, masked = torch.cat(images), torch.cat(masks)
    if look.flip:
        stacked = torch.cat([stacked, stacked.flip(3)])
        masked = torch.cat([masked, masked.flip(3)])
        points += mirrored
    return stacked, masked, torch.from_numpy(np.stack(points))


def _points(clicks: Sequence[Click]) -> npt.NDArray[np.float64]:
    """Clicks in the network layout (2N, 3), in double precision.

    The published predictor hands doubles on, and its disks are hard-edged: a click at (57.6, 100.8) has a
    pixel at exactly the radius, which single precision would lose.
    """
    points = click_array(clicks).astype(np.float64)
    order = points[:, 2].astype(int)
    exact = np.array([(click.row, click.col) for click in clicks], np.float64).reshape(-1, 2)
    points[order >= 0, :2] = exact[order[order >= 0]]
    return points


def _unflipped(look: Look, logits: Tensor) -> Tensor:
    """(K, H, W) logits: the mean of each window's and its mirror image's."""
    if not look.flip:
        return logits[:, 0]
    straight, mirrored = logits.chunk(2)
    return (0.5 * (straight + mirrored.flip(3)))[:, 0]
