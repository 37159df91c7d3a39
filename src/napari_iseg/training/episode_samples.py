"""Episodes as tensors: augmented images, masks, first clicks, and a neighbour's mask as a prior."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_iseg.fewshot.interpolation import interpolated
from napari_iseg.fewshot.positional import LIMIT, odds, strength
from napari_iseg.training.clicks import ClickSampler
from napari_iseg.training.episode_bank import EpisodeBank
from napari_iseg.training.episodes import Episode, Shot, draw_episode
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.photometric import vary

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EpisodeOptions:
    """How episodes are drawn.

    Parameters
    ----------
    size : side of the windows, pixels; a multiple of 32
    supports : at most so many per episode; the count is drawn from 1 to that
    superpixels : share of episodes with pseudo-labels
    empty_same, empty_other : share of queries without the label, in one volume or scene, and elsewhere
    vary : factor on how often each intensity augmentation is applied
    truth_from, truth_to : share of supports whose true mask is embedded, at the first and the last step; the
        others' masks are predicted from clicks
    close : share of episodes whose windows are made to fit an object, whatever its size
    no_previous, wrong_previous : share of priors left out, and taken from another object
    """

    size: int = 192
    supports: int = 2
    superpixels: float = 0.1
    empty_same: float = 0.25
    empty_other: float = 0.1
    close: float = 0.0
    vary: float = 0.8
    truth_from: float = 1.0
    truth_to: float = 0.2
    no_previous: float = 0.5
    wrong_previous: float = 0.05
    clicks: ClickSampler = field(default_factory=lambda: ClickSampler(max_clicks=12, gamma=0.6))


class EpisodeSamples(IndexedSamples[EpisodeBank]):
    """An endless set of episodes, by index.

    Each item holds, for K = ``options.supports`` and S = ``options.size``: ``support_image`` (K, 3, S, S),
    ``support_truth`` (K, 1, S, S), ``support_area`` (K,) of the label in the whole picture in pixels of
    the window, ``support_clicks`` (K, 2N, 3), ``support_valid`` (K,), ``support_given`` (K,) 1 where the true
    mask is embedded, ``distance`` (K,) from the query over the supports' median gap,
    ``query_image`` (3, S, S), ``query_truth`` (1, S, S), ``previous`` (1, S, S); all float32.
    """

    stream = (3,)

    def __init__(self, bank: EpisodeBank, options: EpisodeOptions, seed: int, length: int) -> None:
        super().__init__(bank, seed, length)
        self.options = options

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See the class."""
        options = self.options
        count = int(rng.integers(1, options.supports + 1))
        episode = draw_episode(
            self.bank,
            options.size,
            count,
            rng,
            superpixels=options.superpixels,
            empty=(options.empty_same, options.empty_other),
            close=options.close,
        )
        share = options.truth_from + (options.truth_to - options.truth_from) * index / self.length
        return self._tensors(episode, rng, share)

    def _tensors(self, episode: Episode, rng: np.random.Generator, share: float) -> dict[str, Tensor]:
        size, most = self.options.size, self.options.supports
        # One microscope took a volume or scene; other images differ by themselves, and an inverted or
        # recoloured one would ask for what no person means by "the same class".
        shared = episode.same or rng.random() < 0.75
        light = int(rng.integers(2**31)) if shared else None
        images = np.zeros((most, 3, size, size), np.float32)
        truths = np.zeros((most, 1, size, size), np.float32)
        clicks = np.full((most, 2 * self.options.clicks.max_clicks, 3), -1, np.float32)
        valid, given = np.zeros(most, np.float32), np.zeros(most, np.float32)
        distance, areas = np.zeros(most, np.float32), np.zeros(most, np.float32)
        gap = _gap(episode)
        for i, shot in enumerate(episode.supports):
            images[i] = self._varied(shot, light, rng)
            truths[i, 0], areas[i] = shot.mask, shot.area
            clicks[i] = self._first_clicks(shot.mask, rng)
            valid[i], given[i] = 1, rng.random() < share
            distance[i] = abs(shot.position - episode.query.position) / gap
        return {
            "support_image": torch.from_numpy(images),
            "support_truth": torch.from_numpy(truths),
            "support_area": torch.from_numpy(areas),
            "support_clicks": torch.from_numpy(clicks),
            "support_valid": torch.from_numpy(valid),
            "support_given": torch.from_numpy(given),
            "distance": torch.from_numpy(distance),
            "query_image": torch.from_numpy(self._varied(episode.query, light, rng)),
            "query_truth": torch.from_numpy(episode.query.mask.astype(np.float32))[None],
            "previous": torch.from_numpy(self._previous(episode, rng))[None],
        }

    def _varied(self, shot: Shot, light: int | None, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """(3, S, S); ``light`` seeds the intensity augmentation that the windows of an episode share."""
        source = rng if light is None else np.random.default_rng(light)
        return np.ascontiguousarray(vary(shot.image, source, self.options.vary).transpose(2, 0, 1))

    def _first_clicks(self, mask: Mask, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        sampled = self.options.clicks.sample([mask], None, rng)
        return sampled if rng.random() < 0.6 else _only_first(sampled)

    def _previous(self, episode: Episode, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """(S, S), -1 to 1: what a run would know before looking: interpolated supports, or a neighbour."""
        nothing = np.zeros((self.options.size, self.options.size), np.float32)
        if not episode.same or rng.random() < self.options.no_previous:
            return nothing
        if episode.aligned and rng.random() < 0.7:
            masks = [_worn(shot.mask, rng) for shot in episode.supports]
            places = [shot.position for shot in episode.supports]
            place = episode.query.position
            ratio = min(abs(p - place) for p in places) / _gap(episode) if len(set(places)) > 1 else 1.0
            return strength(interpolated(masks, places, place), ratio) / LIMIT
        if rng.random() < self.options.wrong_previous:
            return odds(np.roll(episode.query.mask, len(nothing) // 3, 0).astype(np.float32)) / LIMIT
        return odds(_worn(episode.query.mask, rng).astype(np.float32)) / LIMIT


def _only_first(clicks: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    single = np.full_like(clicks, -1)
    single[0] = (*clicks[0, :2], 0)
    return single


def _worn(mask: Mask, rng: np.random.Generator) -> Mask:
    """A mask as a neighbouring slice or a hasty hand would have it: moved, grown or shrunk, with holes."""
    moved = np.roll(mask, tuple(int(v) for v in rng.integers(-8, 9, 2)), (0, 1)).astype(np.uint8)
    steps = int(rng.integers(-5, 6))
    change = cv2.dilate if steps > 0 else cv2.erode
    worn = change(moved, np.ones((3, 3), np.uint8), iterations=abs(steps)) if steps else moved
    worn = worn if worn.any() else moved
    for value in (0, 1):
        if rng.random() < 0.3:
            centre = tuple(int(v) for v in rng.integers(0, len(mask), 2))
            worn = cv2.circle(np.ascontiguousarray(worn), centre, int(rng.integers(2, 9)), value, -1)
    return np.asarray(worn).astype(bool)


def _gap(episode: Episode) -> float:
    """The median gap between supports; with one support the distance to the query itself."""
    places = sorted(shot.position for shot in episode.supports)
    gaps = np.diff(places)
    own = abs(places[0] - episode.query.position)
    return float(max(np.median(gaps) if len(gaps) else own, 1.0))
