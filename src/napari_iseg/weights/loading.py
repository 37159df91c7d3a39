"""From a weights file to a network: strictly, every key and every shape."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from napari_iseg import backends
from napari_iseg.backends.base import ClickNet, PublishedNet, Recognition
from napari_iseg.backends.cards import CARD_FILE, ModelCard, read_card
from napari_iseg.backends.model import Model
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.weights.checkpoint import Checkpoint, open_checkpoint
from napari_iseg.weights.fit import check_fit, check_own
from napari_iseg.weights.recognise import claimed, described, identify, unwrapped, variant_name
from napari_iseg.weights.verify import broken_names

if TYPE_CHECKING:
    from napari_iseg.backends.edge_model import EdgeModel
    from napari_iseg.backends.is5net import EdgeNet
    from napari_iseg.backends.small import SmallObjectsNet
    from napari_iseg.backends.small_model import SmallModel
    from napari_iseg.backends.thin import PixelNet
    from napari_iseg.backends.thin_model import ThinModel

NOT_FINITE = (
    "The file holds NaN or infinity in {}: it is damaged or comes of a training run that failed; get it "
    "again, or take an earlier checkpoint of that run."
)


def ready(
    card: ModelCard, net: PublishedNet, device: str, precision: str
) -> Model | EdgeModel | ThinModel | SmallModel:
    """A network with what runs it, by the role of its method.

    Raises
    ------
    InputError
        For a method whose networks answer nothing by themselves.
    """
    role = backends.role(card.backend)
    if role == "edges":
        from napari_iseg.backends.edge_model import EdgeModel

        return EdgeModel(card, cast("EdgeNet", net), device=device, precision=precision)
    if role == "thin":
        from napari_iseg.backends.thin_model import ThinModel

        return ThinModel(card, cast("PixelNet", net), device=device, precision=precision)
    if role == "small":
        from napari_iseg.backends.small_model import SmallModel

        return SmallModel(card, cast("SmallObjectsNet", net), device=device, precision=precision)
    if role == "training":
        raise InputError(f"{card.name} only helps to train other models; name it in a recipe instead.")
    return Model(card, cast("ClickNet", net), device=device, precision=precision)


def net_from_card(card: ModelCard, path: Path) -> PublishedNet:
    """The card's network with the weights of ``path``, float32 on the CPU, in evaluation mode.

    Raises
    ------
    CheckpointError
        A damaged file, or one that does not fit the card.
    """
    found = described(card.backend, card.variant)
    with open_checkpoint(path) as file:
        if not isinstance(card.variant, str):  # a stranger's card may state any sizes
            check_fit(found, card.names, file.shapes)
        return _loaded(found, card.names, file)


def card_beside(path: Path) -> ModelCard | None:
    """The card in the file's folder when it is about this file."""
    if not os.path.isfile(path.parent / CARD_FILE):  # noqa: PTH113 - Path.is_file fails on impossible names
        return None
    card = read_card(path.parent)
    return card if card.weights == path.name else None


def net_from_file(path: Path) -> tuple[ModelCard, PublishedNet]:
    """A checkpoint file with the card beside it, or else, recognised, with the one it would get.

    Raises
    ------
    CheckpointError
        A damaged file, of no known network, or (recognised) with NaN or infinity.
    """
    beside = card_beside(path)
    if beside is not None:
        return beside, net_from_card(beside, path)
    with open_checkpoint(path) as opened:
        file = unwrapped(opened)
        known = claimed(file.metadata)
        if known is not None:
            check_fit(*known, file.shapes)
        found, names = known or (identify(file.shapes, file.hints), "published")
        net = _loaded(found, names, file)
    broken = broken_names(net.state_dict())
    if broken:
        raise CheckpointError(NOT_FINITE.format(broken))
    method = backends.get(found.backend)
    card = ModelCard(
        name=path.stem,
        title=f"{found.label} from {path.name}",
        backend=found.backend,
        variant=variant_name(found) or found.variant,
        prompts=tuple(sorted(method.prompts)),
        licence="unknown",
        weights=path.name,
        names=names,
        size_bytes=path.stat().st_size,
        folder=path.parent,
    )
    return card, net


def _loaded(found: Recognition, names: str, file: Checkpoint) -> PublishedNet:
    with torch.random.fork_rng(devices=[]):  # the weights it begins with are not drawn from the user's
        net = backends.build(found.backend, found.variant)
    state = LazyState(file)
    if names == "published":
        net.load_published(state)
    else:
        check_own(net, found, file.shapes)
        net.load_state_dict(dict(state), strict=True)
    return net.eval()


class LazyState(Mapping[str, Tensor]):
    """A state dict whose tensors are read when they are asked for, in float32."""

    def __init__(self, file: Checkpoint) -> None:
        self._file = file

    def __getitem__(self, key: str) -> Tensor:
        if key not in self._file.shapes:
            raise KeyError(key)
        value = self._file.read(key)
        return value.to(torch.float32) if value.is_floating_point() else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.shapes)

    def __len__(self) -> int:
        return len(self._file.shapes)
