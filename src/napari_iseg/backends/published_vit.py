"""What the click methods on SimpleClick's plain ViT have in common; each also has a starter of ours."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from napari_iseg.backends.base import ClickNet, Inference, Recognition, Shapes, Variant
from napari_iseg.backends.published import named_variant
from napari_iseg.backends.published_sizes import Family
from napari_iseg.backends.vit_sizes import TrunkSizes
from napari_iseg.errors import InputError

T = TypeVar("T", bound=TrunkSizes)

# A variant with "trunk": "conv" is our starter network; its other keys are that network's arguments.
STARTER: Final[Mapping[str, Variant]] = MappingProxyType({"starter": MappingProxyType({"trunk": "conv"})})


class PlainVitMethod(Generic[T]):
    """A method says what it is called (``name``, ``title``, ``good_at``) and what is its own.

    Attributes
    ----------
    family : its networks on the plain ViT
    variants : those of the family, and `STARTER`
    """

    name: str
    title: str
    good_at: str
    prompts = frozenset({"click"})
    inference = Inference()
    family: Family[T]
    variants: Mapping[str, Variant]

    def network(self, sizes: T) -> ClickNet:
        """The network of these sizes, with random weights."""
        raise NotImplementedError

    def starter(self, **options: Any) -> ClickNet:
        """The starter network; TypeError for arguments that it does not have."""
        raise NotImplementedError

    def build(self, variant: str | Variant) -> ClickNet:
        """The network of a variant (a name or a mapping), with random weights."""
        conv, options = self._resolve(variant)
        if not conv:
            return self.network(self.family.read(options))
        try:
            return self.starter(**options)
        except TypeError as error:
            raise InputError(f"The variant does not describe a starter network: {error}.") from None

    def recognise(self, shapes: Shapes, hints: Mapping[str, Any] | None = None) -> Recognition | None:
        """See `napari_iseg.backends.recognise`; the starter network is recognised by its card instead."""
        sizes = self.family.recognised(shapes, hints or {})
        if sizes is None:
            return None
        return Recognition(self.name, sizes.mapping(), self.family.label(sizes), heads_shown=False)

    def differences(self, shapes: Shapes) -> tuple[str, list[str]]:
        """The nearest variant's label and what differs from it, see `napari_iseg.backends.differences`."""
        return self.family.differences(shapes)

    def inference_for(self, variant: str | Variant) -> Inference:
        """Published evaluation settings, windows resized to the variant's trained size."""
        conv, options = self._resolve(variant)
        return self.inference if conv else self.inference.with_options(size=self.family.read(options).image)

    def _resolve(self, variant: str | Variant) -> tuple[bool, dict[str, Any]]:
        """Whether a variant is a starter, and its other keys."""
        options = dict(named_variant(self.title, self.variants, variant))
        trunk = options.pop("trunk", "vit")
        if trunk not in ("vit", "conv"):
            raise InputError(f"trunk must be 'vit' or 'conv', got {trunk!r}.")
        return trunk == "conv", options


def trunk_words(sizes: TrunkSizes) -> str:
    """A trunk of no published sizes, for a label."""
    return (
        f"{sizes.depth} blocks of width {sizes.embed_dim}, patch {sizes.patch_size}, "
        f"trained at {' x '.join(map(str, sizes.image))}"
    )
