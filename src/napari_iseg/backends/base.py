"""What every published method shares: how its network is called, built, loaded and run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Protocol

import torch

from napari_iseg.errors import DeviceError, InputError
from napari_iseg.nn.click_net import ClickNet as ClickNet
from napari_iseg.nn.click_net import PublishedNet as PublishedNet

Shapes = Mapping[str, tuple[int, ...]]
Variant = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inference:
    """How a click model is run; the defaults are the published evaluation settings of CFR-ICL.

    Parameters
    ----------
    threshold
        A pixel is object where the probability is larger.
    flip
        Average the logits with those of the mirrored window.
    size
        (rows, cols) that every window is resized to.
    grid
        "published", or "exact", ours: clicks stay in place, see `interactive.window_grid`. Networks that take
        prompts apart from the picture (SAM) place them by their own rule.
    window
        "zoom-in", the published rule, or "scale-search", ours, see `interactive.scale_search`.
    zoom_expand
        Side of the window around the object, as a multiple of the object's.
    zoom_min_side
        Its least side, in pixels.
    zoom_keep_iou
        From which overlap on the window is kept, as IoU.
    zoom_threshold
        Of the mask that the window is laid around.
    refine_steps
        CFR-n: extra passes per refined click.
    refine_adaptive
        A-CFR: stop once at most ``refine_pixels`` pixels change.
    refine_clicks
        Refine the first n clicks (published code: 1); None (in a card "all") refines every click, as the
        paper says.
    refine_pixels
        A-CFR: see ``refine_adaptive``.
    search_sides
        scale-search: sides of the windows tried for the first click, in pixels.
    search_widen
        scale-search: later windows are averaged with ones so much wider.
    search_settled
        scale-search: a later click changes its own connected part, from the fourth click on with this share
        of the answer; elsewhere answers are averaged (`interactive.merging`); 0 takes every answer as it is.
    search_flip
        scale-search: ``flip`` from the second click on; the first, with many windows, stays fast.
    search_fine
        scale-search: side of the network's input for large objects from the sixth click on; 0 is ``size``.
    search_twice
        scale-search: what the first click has found is looked at once more, in windows around it, and all
        answers are averaged.
    search_coarse
        scale-search: side of the network's input for the first click's squares; 0 is ``size``.
    search_stability
        scale-search: of the squares of the first click, the best by the network's own estimate times the
        mask's stability; False for networks that have learnt to choose by the estimate.
    search_rethink
        scale-search: a background click in the middle of what the first click has found lets the answers that
        were not chosen be heard again (`interactive.rethink`).
    thin
        The model that answers in this one's place where the object is too thin for its window
        (`interactive.thin`); "" for none.
    small
        The model that finishes small objects from the fourth click on (`interactive.small`); "" for none.
    """

    threshold: float = 0.49
    flip: bool = True
    size: tuple[int, int] = (448, 448)
    grid: str = "published"
    window: str = "zoom-in"
    zoom_expand: float = 1.4
    zoom_min_side: int = 200
    zoom_keep_iou: float = 0.5
    zoom_threshold: float = 0.5
    refine_steps: int = 0
    refine_adaptive: bool = False
    refine_clicks: int | None = 1
    refine_pixels: int = 20
    search_sides: tuple[int, ...] = ()
    search_widen: tuple[float, ...] = ()
    search_settled: float = 0.0
    search_flip: bool = False
    search_fine: int = 0
    search_twice: bool = False
    search_coarse: int = 0
    search_stability: bool = True
    search_rethink: bool = False
    thin: str = ""
    small: str = ""

    def with_options(self, **options: Any) -> Inference:
        """A copy with some fields replaced; unknown names are refused with the list of valid ones."""
        known = {f.name for f in fields(self)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise InputError(
                f"Unknown inference option {unknown[0]!r}; valid are {', '.join(sorted(known))}."
            )
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        if plain.get("refine_clicks") == "all":  # TOML has no None
            plain["refine_clicks"] = None
        return replace(self, **plain)


def check_settings(settings: Inference) -> Inference:
    """The same settings.

    Raises
    ------
    InputError
        For a value that cannot be; the sentence names the setting, its value and what it may be.
    """
    for f in fields(settings):
        value = getattr(settings, f.name)
        valid, words = _is_valid(f.name, value, f.default)
        if not valid:
            raise InputError(f"The inference setting {f.name} must be {words}, got {value!r}.")
    return settings


def _is_valid(name: str, value: Any, default: Any) -> tuple[bool, str]:
    """Whether a setting can be ``value``, by the kind of its default, and what it may be in words."""
    parts = value if isinstance(value, tuple) else ()
    if name == "size":
        positive = all(_is_whole(part) and part > 0 for part in parts)
        return positive and len(parts) == 2, "two whole numbers of at least 1, (rows, cols)"
    if name == "refine_clicks":
        return value is None or _is_whole(value), "a whole number from 0 on, or None"
    if isinstance(default, tuple):
        return parts == value and all(_is_number(part) and part > 0 for part in parts), "numbers above 0"
    if isinstance(default, str):
        return isinstance(value, str), "text"
    if isinstance(default, bool):
        return isinstance(value, bool), "True or False"
    if isinstance(default, int):
        return _is_whole(value), "a whole number from 0 on"
    if "threshold" in name:
        return _is_number(value) and value <= 1, "a number from 0 to 1"
    return _is_number(value), "a number from 0 on"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and _is_number(value)


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a checkpoint was recognised as: the backend's name and the variant that builds its network."""

    backend: str
    variant: dict[str, Any]
    label: str  # for people: "CFR-ICL vit-b"
    heads_shown: bool = True  # whether keys and shapes tell ``num_heads``; else hinted or usual


class Method(Protocol):
    """One published method; a new one is one file with one of these and a line in ``backends.BACKENDS``.

    Its role (`napari_iseg.backends.role`) says what its networks are for; those that answer clicks or boxes
    are a `Backend`.
    """

    name: str
    title: str  # this and the next as plain texts in the class: lists read them without importing it
    good_at: str  # one line for the model list
    prompts: frozenset[str]  # of "click", "box", "mask" what a person gives; a mask before is the session's
    variants: Mapping[str, Variant]

    def build(self, variant: str | Variant) -> PublishedNet:
        """The network of a variant, with random weights."""

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """The variant whose published key names and shapes these are, or None.

        ``hints`` are sizes from the file's own configuration, for what shapes cannot tell (``num_heads``).
        """

    def differences(self, shapes: Shapes) -> tuple[str, list[str]] | None:
        """The nearest variant's label, and one phrase per key in which ``shapes`` differ from it.

        None for a method of which no checkpoints are about: no foreign file means to be one of its.
        """


class Backend(Method, Protocol):
    """A method that answers clicks or boxes (role "click")."""

    inference: Inference  # the published settings

    def build(self, variant: str | Variant) -> ClickNet:
        """The network of a variant, with random weights."""

    def inference_for(self, variant: str | Variant) -> Inference:
        """Published inference settings of a variant (its trained size)."""


def as_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda", "cuda:1" or "mps"; refuses one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unknown = DeviceError(f"Unknown device {name!r}; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise unknown from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise unknown
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise DeviceError(
            f"The device {name!r} was asked for but no such GPU was found here; use device='cpu' or 'auto'."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(
            "The device 'mps' was asked for but this machine has none; use device='cpu' or 'auto'."
        )
    return device
