"""IS5Net, which makes a mask exact along thin structures, and the GT encoder that its training needs."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from napari_iseg.backends.base import PublishedNet, Recognition, Shapes, Variant
from napari_iseg.backends.published import (
    named_variant,
    shape_differences,
    shapes_in,
    shapes_of,
    some,
    tensors_of,
)
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.nn.is5net import IsNet, TruthEncoder, prepared

# What the input channels are, by their number; files of the authors' other experiments exist with 8.
CHANNELS: Final[Mapping[int, str]] = MappingProxyType(
    {
        3: "IS-Net, 3 input channels (image alone)",
        4: "IS-Net with 4 input channels (image, mask)",
        5: "IS5Net, 5 input channels (image, mask, box)",
        8: "IS-Net with 8 input channels (an experiment whose channels were not published)",
    }
)
_COUNTER: Final = "num_batches_tracked"  # of batch norms, which only training uses


class EdgeNet(PublishedNet, IsNet):
    """Image, coarse mask and box in; six probability maps out, the first is the answer."""

    training_methods = ("all_sides",)

    def forward(self, image: Tensor, mask: Tensor | None = None, box: Tensor | None = None) -> list[Tensor]:
        """Six probability maps.

        Parameters
        ----------
        image : (B, 3, H, W) float, RGB in [0, 1]
        mask : (B, 1, H, W) float in [0, 1], the coarse mask; not for 3 channels
        box : (B, 1, H, W) float in [0, 1], 1 inside the box; not for 3 and 4 channels

        Returns
        -------
        six (B, 1, H, W) float32 in [0, 1]

        Raises
        ------
        InputError
            For tensors that do not fit together, or inputs that this network lacks or does not take.
        """
        return [logits.float().sigmoid() for logits in self.all_sides(image, mask, box)[0]]

    def answer(self, image: Tensor, mask: Tensor | None, box: Tensor | None) -> Tensor:
        """The first probability map alone, (B, 1, H, W) float32."""
        return self.sides(self._input(image, mask, box), 1)[0][0].float().sigmoid()

    def all_sides(
        self, image: Tensor, mask: Tensor | None, box: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Six logit maps and six feature maps, for training; arguments as for the call."""
        return self.sides(self._input(image, mask, box))

    def load_published(self, state: Mapping[str, Tensor], *, widen: bool = False) -> None:
        """Load a published state dict strictly; with ``widen`` also one with fewer input channels.

        The first convolution's weights for channels that the file lacks become zero, so that the network
        starts as the narrower one was.

        Raises
        ------
        CheckpointError
            A key or shape that does not fit; the network is then unchanged.
        """
        tensors = tensors_of(state)
        if widen and "conv_in.weight" in tensors:
            tensors["conv_in.weight"] = widened(tensors["conv_in.weight"], self.in_channels)
        _load(self, tensors)

    def _input(self, image: Tensor, mask: Tensor | None, box: Tensor | None) -> Tensor:
        if image.ndim != 4 or image.shape[1] != 3:
            raise InputError(f"The image must be (B, 3, H, W), got {tuple(image.shape)}.")
        if self.in_channels > 5:
            raise InputError(
                f"What the {self.in_channels} channels of this network hold was never published; use one "
                "with 3, 4 or 5 channels."
            )
        expected = (image.shape[0], 1, *image.shape[2:])
        parts = []
        named = (("coarse mask", mask), ("box map", box))
        for name, value in named[: self.in_channels - 3]:
            if value is None or tuple(value.shape) != expected:
                got = "none" if value is None else tuple(value.shape)
                raise InputError(f"The {name} must be {expected}, got {got}.")
            parts.append(value.to(image.dtype))
        return prepared(image, parts)


class TruthNet(PublishedNet, TruthEncoder):
    """The GT encoder: a true mask in, six probability maps out."""

    training_methods = ("sides",)

    def forward(self, mask: Tensor) -> list[Tensor]:
        """Six (B, 1, H, W) float32 probability maps of a mask (B, 1, H, W) in [0, 1]."""
        return [logits.float().sigmoid() for logits in self.sides(mask)[0]]

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a published state dict strictly; CheckpointError when a key or shape does not fit."""
        _load(self, tensors_of(state))


class _IsNetMethod:
    """What both have in common: variants by name, and checkpoints told by their keys and shapes."""

    name: str
    title: str
    good_at: str
    prompts: frozenset[str]
    variants: Mapping[str, Variant]

    def build(self, variant: str | Variant) -> PublishedNet:
        """The network of a variant (a name or a mapping), with random weights.

        Raises
        ------
        ModelNotFoundError
            For an unknown name; InputError for a mapping that describes no network.
        """
        return self._net(named_variant(self.title, self.variants, variant))

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """See `napari_iseg.backends.recognise`."""
        del hints
        variant = self._read(shapes)
        if variant is None or self._wrong(shapes, variant):
            return None
        return Recognition(self.name, variant, self._label(variant))

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest variant's label and what differs from it, see `napari_iseg.backends.differences`."""
        variant = self._read(shapes) or dict(next(iter(self.variants.values())))
        return self._label(variant), self._wrong(shapes, variant)

    def _wrong(self, shapes: Shapes, variant: Variant) -> list[str]:
        with torch.device("meta"):
            return _differences(self._net(variant), shapes)

    def _net(self, variant: Variant) -> PublishedNet:
        raise NotImplementedError

    def _read(self, shapes: Shapes) -> dict[str, Any] | None:
        raise NotImplementedError

    def _label(self, variant: Variant) -> str:
        raise NotImplementedError


class Is5Net(_IsNetMethod):
    """The backend "is5net" (role "edges")."""

    name = "is5net"
    title = "IS5Net"
    good_at = "makes a mask exact along hair-thin structures"
    prompts = frozenset({"mask", "box"})
    variants: Mapping[str, Variant] = MappingProxyType(
        {
            "5-channels": MappingProxyType({"in_channels": 5, "width": 1.0}),
            "4-channels": MappingProxyType({"in_channels": 4, "width": 1.0}),
            "isnet": MappingProxyType({"in_channels": 3, "width": 1.0}),
            "8-channels": MappingProxyType({"in_channels": 8, "width": 1.0}),
            "narrow": MappingProxyType({"in_channels": 5, "width": 0.25}),
        }
    )

    def _net(self, variant: Variant) -> PublishedNet:
        checked = _checked(variant, ("in_channels", "width"))
        channels = checked.get("in_channels", 5)
        if channels not in list(CHANNELS):  # which compares; a mapping would want it to be hashable
            raise InputError(f"in_channels must be one of {', '.join(map(str, CHANNELS))}, got {channels!r}.")
        return EdgeNet(int(channels), _width(checked))

    def _read(self, shapes: Shapes) -> dict[str, Any] | None:
        shape = shapes.get("conv_in.weight", ())
        width = _width_of(shapes)
        if len(shape) != 4 or shape[1] not in CHANNELS or width is None:
            return None
        return {"in_channels": shape[1], "width": width}

    def _label(self, variant: Variant) -> str:
        label = CHANNELS[variant.get("in_channels", 5)]
        width = variant.get("width", 1.0)
        return label if width == 1 else f"{label}, {width:g} of the published width"


class GtEncoder(_IsNetMethod):
    """The backend "is5net-gt-encoder" (role "training")."""

    name = "is5net-gt-encoder"
    title = "IS5Net's GT encoder"
    good_at = "encodes true masks while IS5Net is trained"
    prompts = frozenset({"mask"})
    variants: Mapping[str, Variant] = MappingProxyType(
        {
            "published": MappingProxyType({"width": 1.0}),
            "narrow-encoder": MappingProxyType({"width": 0.25}),
        }
    )

    def _net(self, variant: Variant) -> PublishedNet:
        return TruthNet(_width(_checked(variant, ("width",))))

    def _read(self, shapes: Shapes) -> dict[str, Any] | None:
        width = _width_of(shapes)
        return {"width": width} if "conv_in.conv.weight" in shapes and width is not None else None

    def _label(self, variant: Variant) -> str:
        width = variant.get("width", 1.0)
        return self.title if width == 1 else f"{self.title}, {width:g} of the published width"


def widened(weight: Tensor, channels: int) -> Tensor:
    """First-convolution weights (O, C, 3, 3) with ``channels`` inputs: what is new is zero.

    Raises
    ------
    CheckpointError
        When the weights have more inputs than asked for.
    """
    extra = channels - weight.shape[1]
    if extra < 0:
        raise CheckpointError(
            f"The file's network has {weight.shape[1]} input channels, which cannot be cut to {channels}; "
            f"build it with in_channels = {weight.shape[1]}."
        )
    return torch.cat([weight, weight.new_zeros(len(weight), extra, *weight.shape[2:])], 1)


def _load(net: PublishedNet, tensors: dict[str, Tensor]) -> None:
    wrong = _differences(net, shapes_in(tensors))
    if wrong:
        raise CheckpointError(
            f"This checkpoint does not fit the network asked for: {some(wrong)}; let "
            "`napari-iseg models import` recognise its variant."
        )
    own = net.state_dict()
    on_meta = any(value.is_meta for value in own.values())
    counters = {key: torch.zeros((), dtype=torch.long) for key in own if key not in tensors}
    net.load_state_dict(
        {key: tensors.get(key, counters.get(key)) for key in own}, strict=True, assign=on_meta
    )


def _differences(net: PublishedNet, shapes: Shapes) -> list[str]:
    """One phrase per key that keeps a state dict from being this network's; norm counters may be missing."""
    expected = shapes_of(net)
    asked = {key: shape for key, shape in expected.items() if key in shapes or not key.endswith(_COUNTER)}
    return shape_differences(shapes, asked)


def _width_of(shapes: Shapes) -> float | None:
    """The factor on the channels, read where they are most; None where that is missing."""
    shape = shapes.get("side6.weight", ())
    return shape[1] / 512 if len(shape) == 4 and shape[1] >= 32 else None


def _checked(variant: Variant, known: tuple[str, ...]) -> dict[str, Any]:
    unknown = sorted(set(variant) - set(known), key=str)
    if unknown:
        raise InputError(f"The variant has an unknown key {unknown[0]!r}; its keys are {', '.join(known)}.")
    return dict(variant)


def _width(variant: Mapping[str, Any]) -> float:
    width = variant.get("width", 1.0)
    if not isinstance(width, Real) or isinstance(width, bool) or not 1 / 16 <= float(width) <= 4:
        raise InputError(f"width must be a factor from 1/16 to 4 on the published channels, got {width!r}.")
    return float(width)
