"""Golden cases of AdaptiveClick's network: how they were cut, and our network's stages cut alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from fill import fill
from PIL import Image

from napari_iseg import backends
from napari_iseg.nn.adaptiveclick_decoder import blocked_places, click_maps
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.plain_vit import from_windows

DATA = Path(__file__).parent / "data"
KEPT = 800  # entries kept of each array in data/, about

_ALL = slice(None)
_TOKENS = (_ALL, slice(None, None, 16))
# How the full file's arrays were cut.
CUTS = {
    "patch_embed_image": _TOKENS,
    "patch_embed_coords": _TOKENS,
    "block_0": _TOKENS,
    "block_1": _TOKENS,
    "block_7": _TOKENS,
    "trunk": (_ALL, _ALL, slice(None, None, 2), slice(None, None, 2)),
    "neck_res2": (_ALL, slice(None, None, 2), slice(None, None, 8), slice(None, None, 8)),
    "neck_res3": (_ALL, slice(None, None, 2), slice(None, None, 4), slice(None, None, 4)),
    "neck_res4": (_ALL, slice(None, None, 2), slice(None, None, 2), slice(None, None, 2)),
    "neck_res5": (_ALL, slice(None, None, 2)),
    "encoder_layer_0": _TOKENS,
    "encoder_layer_3": _TOKENS,
    "multi_scale_0": (),
    "multi_scale_1": (_ALL, _ALL, slice(None, None, 2), slice(None, None, 2)),
    "multi_scale_2": (_ALL, _ALL, slice(None, None, 4), slice(None, None, 4)),
    "mask_features": (_ALL, slice(None, None, 2), slice(None, None, 8), slice(None, None, 8)),
    "decoder_layer_0": (),
    "decoder_layer_1": (),
    "decoder_layer_8": (),
    "layer_class_logits": (),
    "layer_mask_logits": (_ALL, _ALL, _ALL, slice(2, None, 8), slice(2, None, 8)),
    "pred_logits": (),
    "pred_masks": (_ALL, _ALL, slice(None, None, 4), slice(None, None, 4)),
    "instances": (_ALL, _ALL, slice(None, None, 2), slice(None, None, 2)),
}
QUERY_FIRST = ("decoder_layer", "layer_")  # the batch is their second axis
MASKS = tuple(f"attn_mask_{i}" for i in range(9))


def small_variant(config: dict) -> dict:
    return {
        "img_size": config["crop"],
        "patch_size": config["patch"],
        "embed_dim": config["embed_dim"],
        "depth": config["depth"],
        "num_heads": config["num_heads"],
        "neck_dims": config["fpn_out"],
        "decoder_dim": config["hidden_dim"],
        "feedforward_dim": config["dim_feedforward"],
        "encoder_layers": config["encoder_layers"],
        "decoder_layers": config["decoder_layers"],
        "queries": config["queries"],
    }


def network(variant, gains: str):
    net = backends.build("adaptiveclick", variant).eval()
    fill(net, json.loads(gains))
    return net


def read(folder: Path | None) -> dict[str, np.ndarray]:
    """The full file's arrays, or with None those in data/, of its second image."""
    with np.load((folder or DATA) / "adaptiveclick_small.npz") as archive:
        stored = dict(archive)
    if folder is None:
        stored["image"] = np.asarray(Image.open(DATA / "adaptiveclick_image.png"))[None]
    return stored


def inputs(stored: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    image = torch.tensor(stored["image"]).permute(0, 3, 1, 2) / 255
    return image, torch.from_numpy(stored["prev_mask"])[:, None] / 255, torch.from_numpy(stored["points"])


def whole_stages(net, image, prev_mask, points) -> dict[str, np.ndarray]:
    """Every stage of our network, whole, under the stored names; masks as booleans."""
    seen: dict[str, np.ndarray] = {}
    grid = net.backbone.grid(*image.shape[-2:])
    windows = net.backbone.windows(grid)
    hooks = []

    def keep(module, name, change=lambda out: out):
        hooks.append(
            module.register_forward_hook(lambda _m, _a, out: seen.__setitem__(name, change(out).numpy()))
        )

    keep(net.patch_embed_coords, "patch_embed_coords")
    keep(net.backbone.patch_embed, "patch_embed_image")
    for i, block in enumerate(net.backbone.blocks):
        last = (i + 1) % net.backbone.group == 0
        keep(block, f"block_{i}", (lambda out: from_windows(out, grid, windows)) if last else lambda out: out)
    keep(net.backbone, "trunk")
    for level, name in zip((4, 8, 16, 32), ("res2", "res3", "res4", "res5"), strict=True):
        keep(getattr(net.pixel_decoder.neck, f"down_{level}"), f"neck_{name}")
    for i, layer in enumerate(net.pixel_decoder.transformer.encoder.layers):
        keep(layer, f"encoder_layer_{i}")
    keep(net.pixel_decoder.mask_features, "mask_features")
    for i, layer in enumerate(net.click_aware_decoder.transformer_ffn_layers):
        keep(layer, f"decoder_layer_{i}", lambda out: out.transpose(0, 1))
    levels = []
    hooks.append(net.pixel_decoder.transformer.register_forward_hook(lambda _m, _a, out: levels.extend(out)))
    with torch.inference_mode():
        learned = net.learned(image, prev_mask, points)
        disks = click_disks(points, *image.shape[-2:])
        opened = click_maps(disks[:, :1], [level.shape for level in levels])
        for i, level in enumerate(levels):
            batch, count, dim = level.tokens.shape
            shaped = level.tokens.transpose(1, 2).reshape(batch, dim, *level.shape)
            assert count == level.shape[0] * level.shape[1]
            seen[f"multi_scale_{i}"] = shaped.numpy()
        for i, prediction in enumerate(learned.predictions[:-1]):
            blocked = blocked_places(prediction, opened[i % 3], levels[i % 3].shape)
            seen[f"attn_mask_{i}"] = blocked.numpy()
    for hook in hooks:
        hook.remove()
    seen["click_maps"] = disks.numpy() > 0
    seen["layer_class_logits"] = np.stack([p.classes.numpy() for p in learned.predictions])
    seen["layer_mask_logits"] = np.stack([p.masks.numpy() for p in learned.predictions])
    seen["pred_logits"], seen["pred_masks"] = (part.numpy() for part in learned.predictions[-1])
    seen["instances"] = learned.logits.numpy()
    return seen


def thinned(array: np.ndarray) -> np.ndarray:
    """What data/ holds of an array."""
    flat = array.reshape(-1)
    return flat[:: max(1, flat.size // KEPT)]


def second_image(name: str, array: np.ndarray) -> np.ndarray:
    """The second half of the batch; windows of an image lie together."""
    if name.startswith(QUERY_FIRST):
        return array[:, 1:]
    return array[len(array) // 2 :]
