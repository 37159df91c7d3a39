"""IFSENet (arXiv 2403.15089): clicks on a few images, masks on them and on the rest.

No official code or checkpoint is public, so no published state dict is recognised: weights come from our own
training and are known by their card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_iseg.backends.base import Inference, Recognition, Shapes, Variant
from napari_iseg.backends.published import named_variant, shape_differences, shapes_of
from napari_iseg.errors import InputError

if TYPE_CHECKING:
    from napari_iseg.nn.ifsenet import IfseNet, IfsenetSizes

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        name: MappingProxyType(values)
        for name, values in {
            "resnet50": {"encoder": "resnet50", "stride": 16},
            "resnet50-os8": {"encoder": "resnet50", "stride": 8, "rates": (12, 24, 36)},
            "resnet50-paper": {"encoder": "resnet50", "stride": 16, "fusion": "paper"},
            "resnet18": {"encoder": "resnet18", "stride": 16},
            "starter": {
                "encoder": "conv",
                "channels": 64,
                "rates": (3, 6, 12),
                "guidance": True,
                "tokens": 256,
            },
            "starter-both": {
                "encoder": "conv",
                "channels": 64,
                "rates": (3, 6, 12),
                "guidance": True,
                "fusion": "both",
                "tokens": 256,
            },
        }.items()
    }
)


class Ifsenet:
    """The backend "ifsenet". As a click backend it is the support path; few-shot use is in `fewshot`."""

    name = "ifsenet"
    title = "IFSENet"
    good_at = "a few clicked slices or tiles become all"
    prompts = frozenset({"click"})
    # Ours: nothing is published. The window is what the network was trained on, as for CFR-ICL.
    inference = Inference(threshold=0.5, flip=False)
    variants: Mapping[str, Variant] = VARIANTS

    def build(self, variant: str | Variant) -> IfseNet:
        """The network of a variant (a name, or a mapping with fields of `IfsenetSizes`), random weights."""
        from napari_iseg.nn.ifsenet import IfseNet

        return IfseNet(self.sizes(variant))

    def sizes(self, variant: str | Variant) -> IfsenetSizes:
        """The sizes that a variant describes.

        Raises
        ------
        ModelNotFoundError
            For an unknown name; InputError for a mapping with unknown or impossible entries.
        """
        from napari_iseg.nn.ifsenet import IfsenetSizes

        options = dict(named_variant(self.title, self.variants, variant))
        known = {f.name for f in fields(IfsenetSizes)}
        unknown = sorted(set(options) - known, key=str)
        if unknown:
            raise InputError(
                f"The variant of IFSENet has an unknown entry {unknown[0]!r}; "
                f"valid are {', '.join(sorted(known))}."
            )
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        sizes = IfsenetSizes(**plain)
        if sizes.fusion not in ("cached", "paper", "both"):
            raise InputError(f"IFSENet's fusion is 'cached', 'paper' or 'both', got {sizes.fusion!r}.")
        if sizes.fusion == "both" and sizes.encoder != "conv":
            raise InputError(
                "IFSENet's fusion 'both' goes with encoder = 'conv', whose trunk is the click starter's; "
                "for a ResNet choose 'cached' or 'paper'."
            )
        if sizes.encoder != "conv" and not sizes.encoder.startswith("resnet"):
            raise InputError(
                f"IFSENet's encoder is 'conv' or a timm ResNet such as 'resnet50', got {sizes.encoder!r}."
            )
        return sizes

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """Always None: no checkpoint is published."""
        del shapes, hints
        return None

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The starter's label and what differs from it, see `napari_iseg.backends.differences`."""
        return "IFSENet starter", shape_differences(shapes, shapes_of(self.build("starter")))

    def inference_for(self, variant: str | Variant) -> Inference:
        """Settings of the support path as a click model."""
        named_variant(self.title, self.variants, variant)  # refuses an unknown name
        return self.inference
