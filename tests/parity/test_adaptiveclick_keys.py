"""Key names and shapes of AdaptiveClick's published variants, and its checkpoint form."""

import json
import os
from pathlib import Path

import pytest
import torch
from adaptiveclick_golden import DATA

from napari_iseg import backends
from napari_iseg.backends.adaptiveclick_variants import UNUSED, VARIANTS

FULL = os.environ.get("ISEG_PARITY")
TABLES = json.loads((DATA / "adaptiveclick_keys.json").read_text())


def shapes_of(variant):
    return {key: tuple(shape) for key, shape in TABLES[variant].items()}


@pytest.mark.parametrize("variant", TABLES)
def test_own_keys_are_the_published_keys_that_are_used(variant):
    with torch.device("meta"):
        net = backends.build("adaptiveclick", variant)
    own = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert own == {key: shape for key, shape in shapes_of(variant).items() if not UNUSED.fullmatch(key)}
    assert net.published_names() == {key: key for key in own}


@pytest.mark.parametrize("variant", TABLES)
def test_published_file_loads_strictly_and_is_recognised(variant):
    with torch.device("meta"):
        net = backends.build("adaptiveclick", variant)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(variant).items()}
    net.load_published(state)
    found = backends.recognise(shapes_of(variant))
    assert (found.backend, found.label) == ("adaptiveclick", f"AdaptiveClick {variant}")
    assert found.variant == dict(VARIANTS[variant])


def test_published_parameter_counts():
    """Each tensor once: the lateral and the output convolution are in a file under two names."""
    counts = {}
    for variant in TABLES:
        with torch.device("meta"):
            net = backends.build("adaptiveclick", variant)
        unused = ("backbone.cls_token", "backbone.fc_norm", "backbone.head")
        extra = [shape for key, shape in shapes_of(variant).items() if key.startswith(unused)]
        counts[variant] = sum(v.numel() for v in net.parameters())
        counts[variant] += sum(torch.Size(shape).numel() for shape in extra)
    assert counts == {"vit-b": 121_886_314, "vit-h": 708_057_706}


if FULL:

    def test_a_file_in_the_authors_form_is_imported(tmp_path):
        from napari_iseg.weights.importer import import_file
        from napari_iseg.weights.store import Store, load_model

        store = Store(tmp_path)
        card = import_file(Path(FULL) / "formats" / "adaptiveclick_published_form.pth", store)
        assert card.backend == "adaptiveclick"
        assert card.variant == {
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 32,
            "depth": 8,
            "num_heads": 2,
            "neck_dims": [16, 16, 32, 32],
            "decoder_dim": 32,
            "feedforward_dim": 64,
            "encoder_layers": 2,
            "decoder_layers": 9,
            "queries": 10,
        }
        clicks = torch.tensor([[[50.0, 60, 0], [-1, -1, -1]]])
        model = load_model(card.name, device="cpu", store=store)
        logits = model.logits(torch.rand(1, 3, 224, 224), torch.zeros(1, 1, 224, 224), clicks)
        assert logits.isfinite().all()
