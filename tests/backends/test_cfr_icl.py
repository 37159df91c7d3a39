"""How the plain ViT behaves beyond the golden cases: sizes, caches, click maps, gradients."""

import pytest
import torch

from napari_iseg import backends
from napari_iseg.errors import CheckpointError, InputError
from napari_iseg.nn import fused
from napari_iseg.nn.clicks import click_disks
from napari_iseg.nn.fpn import MapNorm, add_resized
from napari_iseg.nn.plain_vit import PlainVit, from_windows, to_windows

TINY = {
    "img_size": 448,
    "embed_dim": 16,
    "depth": 8,
    "num_heads": 2,
    "neck_dims": [8, 8, 8, 8],
    "head_channels": 8,
}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return backends.build("cfr-icl", TINY).eval()


def inputs(height, width, batch=1):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, height, width, generator=generator)
    clicks = torch.tensor([[[20.0, 30.5, 0], [-1, -1, -1], [100, 40, 1], [-1, -1, -1]]]).expand(batch, -1, -1)
    return image, torch.zeros(batch, 1, height, width), clicks


@pytest.mark.parametrize("size", [(112, 112), (224, 448), (448, 448), (480, 672)])
def test_other_sizes_leave_the_state_dict_as_it_is(net, size):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.prepare(*size)
    with torch.inference_mode():
        assert net(*inputs(*size)).shape == (1, 1, *size)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((450, 448), "450 rows; use 448 or 480"),
        ((448, 464), "464 columns; use 448 or 480"),
        ((8, 448), "8 rows; use 32"),
        ((448, 16), "16 columns; use 32"),
    ],
)
def test_size_off_the_grid_is_refused_with_sizes_that_fit(net, size, words):
    with pytest.raises(InputError, match=words):
        net(*inputs(*size))


def test_the_smallest_size_that_is_named_is_taken(net):
    with torch.inference_mode():
        assert net(*inputs(32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("bad", ["image", "mask", "clicks"])
def test_tensors_that_do_not_fit_together_are_refused(net, bad):
    image, mask, clicks = inputs(224, 224)
    given = {"image": image, "mask": mask, "clicks": clicks}
    given[bad] = given[bad][:, :1, :-1] if bad == "mask" else given[bad][:, :1]
    with pytest.raises(InputError):
        net(given["image"], given["mask"], given["clicks"])


def test_position_tables_are_kept_per_size_follow_the_weights_and_stay_few():
    vit = PlainVit((64, 64), 16, 8, 4, 2).eval()
    with torch.no_grad():
        first = vit.positions((6, 6))
        assert vit.positions((6, 6)) is first
        vit.pos_embed.add_(1)
        assert torch.allclose(vit.positions((6, 6)), first + 1, atol=1e-5)
        for side in range(5, 20):
            vit.positions((side, side))
    assert len(vit._tables._held) == 4
    assert vit.positions((6, 6)).requires_grad


def test_table_made_in_inference_mode_still_serves_training():
    vit = PlainVit((64, 64), 16, 8, 4, 2)
    with torch.inference_mode():
        vit(torch.zeros(1, 3, 96, 96))
    vit.pos_embed.requires_grad_(False)
    vit(torch.zeros(1, 3, 96, 96)).sum().backward()
    assert vit.patch_embed.proj.bias.grad is not None


@pytest.mark.parametrize(("grid", "windows"), [((4, 6), (2, 3)), ((6, 4), (1, 2)), ((5, 5), (1, 1))])
def test_windows_hold_their_rectangle_and_come_back(grid, windows):
    tokens = torch.arange(2 * grid[0] * grid[1]).view(2, -1, 1)
    cut = to_windows(tokens, grid, windows)
    height, width = grid[0] // windows[0], grid[1] // windows[1]
    last = tokens[1].view(grid)[-height:, -width:]
    assert torch.equal(cut[-1, :, 0], last.reshape(-1))
    assert torch.equal(from_windows(cut, grid, windows), tokens)


def test_samples_of_a_batch_do_not_mix(net):
    image, mask, clicks = inputs(448, 448, batch=2)
    with torch.inference_mode():
        together = net(image, mask, clicks)
        apart = torch.cat([net(image[i : i + 1], mask[i : i + 1], clicks[i : i + 1]) for i in range(2)])
    assert torch.allclose(together, apart, atol=1e-4)


def test_every_weight_learns():
    net = backends.build("cfr-icl", {**TINY, "img_size": 224, "upsample": "x4", "head_channels": 4})
    net(*inputs(224, 224)).square().mean().backward()
    assert [key for key, value in net.named_parameters() if value.grad is None] == []


def test_disks_follow_the_published_rule():
    clicks = torch.tensor([[[10.0, 10, 0], [-1, -1, -1], [-0.5, 3, 1], [-1, -1, -1]]])
    positive, negative = click_disks(clicks, 30, 20)[0]
    assert positive.sum() == 81  # lattice points within a distance of 5
    assert positive[10, 15] == 1
    assert positive[10, 16] == 0
    # (-0.5, 3) counts, a row whose larger coordinate is negative does not.
    assert negative[4, 3] == 1
    assert negative[5, 3] == 0
    assert click_disks(torch.full((1, 2, 3), -1.0), 30, 20).sum() == 0


def test_fused_linear_is_the_plain_one(monkeypatch):
    x, weight, bias = torch.randn(2, 5, 24), torch.randn(48, 24), torch.randn(48)
    with torch.no_grad():
        quick = [fused.linear(x, weight, bias, gelu=gelu) for gelu in (False, True)]
        monkeypatch.setattr(fused, "_has_onednn", lambda *_: False)
        plain = [fused.linear(x, weight, bias, gelu=gelu) for gelu in (False, True)]
    for a, b in zip(quick, plain, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_map_norm_is_exact_on_maps_with_rare_large_values(layout, learning):
    torch.manual_seed(0)
    x = torch.randn(2, 8, 128, 128)
    x = torch.where(torch.rand_like(x) < 0.999, x * 0.01, x * 30).contiguous(memory_format=layout)
    norm = MapNorm(8)
    torch.nn.init.normal_(norm.weight)
    exact = torch.nn.functional.group_norm(x.double(), 1, norm.weight.double(), norm.bias.double())
    with torch.set_grad_enabled(learning):
        assert (norm(x) - exact).abs().max() < 1e-4
        flat = norm(torch.full_like(x, 3.0))
    torch.testing.assert_close(flat, norm.bias[:, None, None].expand(x.shape), atol=1e-4, rtol=0)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("small", [(3, 5), (6, 10), (13, 7)])
def test_levels_are_resized_and_added_up_as_torch_does(small, learning, half):
    torch.manual_seed(0)
    total, level = torch.randn(2, 8, 12, 20), torch.randn(2, 8, *small)
    total, level = (x.to(memory_format=torch.channels_last) for x in (total, level))
    expected = total + torch.nn.functional.interpolate(level, size=(12, 20), mode="bilinear")
    with torch.set_grad_enabled(learning), torch.autocast("cpu", torch.bfloat16, enabled=half):
        torch.testing.assert_close(add_resized(total, level), expected)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda state: {"state_dict": state}, "with 'state_dict' inside; pass what lies under 'state_dict'"),
        (lambda state: {key: value.numpy() for key, value in state.items()}, "iseg.load_model"),
        (lambda _: None, "got a NoneType"),
        (lambda state: {1: state["head.conv_seg.weight"]}, "maps names to tensors"),
    ],
)
def test_what_is_no_state_dict_is_refused(net, state, words):
    with pytest.raises(CheckpointError, match=words):
        net.load_published(state(net.state_dict()))


def test_an_upsampling_that_is_no_word_is_refused():
    with pytest.raises(InputError, match="upsample must be one of"):
        backends.build("cfr-icl", {**TINY, "upsample": ["x1"]})
