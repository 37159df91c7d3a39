"""PlaneSource: axes, dtypes, stretch, windows, pyramids, refusals."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from napari_iseg.errors import InputError
from napari_iseg.images import PlaneSource
from napari_iseg.images.sampling import MOST_VALUES, sample_places
from napari_iseg.prompts import Window


class Counting:
    """An array that counts the values read from it, and refuses to be read whole by conversion."""

    def __init__(self, array: np.ndarray, shape: tuple[int, ...] | None = None) -> None:
        self.array, self.shape, self.dtype = array, shape or array.shape, array.dtype
        self.ndim, self.read = len(self.shape), 0

    def __getitem__(self, index):
        if self.shape != self.array.shape:  # virtual: repeats one value
            slices = [(i, n) for i, n in zip(index, self.shape, strict=True) if isinstance(i, slice)]
            size = [len(range(*i.indices(n))) for i, n in slices]
            part = np.broadcast_to(self.array.reshape(-1)[0], size)
        else:
            part = self.array[index]
        self.read += part.size
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was read")


def whole(source: PlaneSource) -> Window:
    return Window.of_shape(source.shape)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_uint8_is_divided_by_255_and_grey_is_replicated():
    image = rng().integers(0, 256, (5, 7), np.uint8)
    pixels = PlaneSource.wrap(image).read(Window(1, 2, 4, 7))
    expected = np.repeat((image[1:4, 2:7].astype(np.float32) / 255)[..., None], 3, -1)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("channels", [3, 4])
def test_rgb_is_recognised_and_alpha_left_out(channels: int):
    image = rng().integers(0, 256, (6, 5, channels), np.uint8)
    source = PlaneSource.wrap(image)
    assert (source.shape, source.leading_shape) == ((6, 5), ())
    np.testing.assert_array_equal(source.read(whole(source)), image[..., :3].astype(np.float32) / 255)


def test_rgb_false_makes_a_stack_of_the_same_array():
    source = PlaneSource.wrap(np.zeros((6, 5, 4), np.uint8), rgb=False)
    assert (source.shape, source.leading_shape) == ((5, 4), (6,))


def test_colours_are_stretched_together_and_bands_alone():
    image = np.stack([np.linspace(0, top, 100).reshape(10, 10) for top in (1, 2, 4)], -1)
    colours = PlaneSource.wrap(image).read(Window(0, 0, 10, 10))
    bands = PlaneSource.wrap(image, channel_axis=-1).read(Window(0, 0, 10, 10))
    np.testing.assert_allclose(colours.max((0, 1)), [0.25, 0.5, 1], atol=0.01)
    np.testing.assert_array_equal(bands.max((0, 1)), [1, 1, 1])


@pytest.mark.parametrize("first", [True, False])
def test_bands_are_chosen_from_either_end_and_missing_ones_are_zero_or_replicated(first: bool):
    image = rng().integers(0, 256, (9, 8, 7), np.uint8)
    given_image = np.moveaxis(image, -1, 0) if first else image
    axis = 0 if first else 2
    scaled = image.astype(np.float32) / 255

    def read(**options):
        return PlaneSource.wrap(given_image, **options).read(Window(0, 0, 9, 8))

    np.testing.assert_array_equal(read(channel_axis=axis), scaled[..., :3])
    np.testing.assert_array_equal(read(channel_axis=axis, bands=(6, 0, 3)), scaled[..., [6, 0, 3]])
    np.testing.assert_array_equal(read(channel_axis=axis, bands=[5]), scaled[..., [5, 5, 5]])
    two = read(channel_axis=axis, bands=(2, 1))
    np.testing.assert_array_equal(two[..., :2], scaled[..., [2, 1]])
    assert not two[..., 2].any()
    np.testing.assert_array_equal(read(bands=(6, 5, 4)), scaled[..., [6, 5, 4]])


def test_planes_of_any_axes_order():
    image = rng().integers(0, 256, (3, 6, 2, 5), np.uint8)
    source = PlaneSource.wrap(image, plane_axes=(3, 1), rgb=False)
    assert (source.shape, source.leading_shape) == ((5, 6), (3, 2))
    pixels = source.read(Window(1, 0, 5, 4), plane=(2, 1))
    np.testing.assert_array_equal(pixels[..., 0], image[2, :4, 1, 1:5].T.astype(np.float32) / 255)


NUMERIC = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
]
NUMERIC += ["float64", ">u2", ">f4", "longdouble"]


@pytest.mark.parametrize("dtype", NUMERIC)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_numeric_values_end_up_finite_between_0_and_1(dtype: str, data: st.DataObject):
    if dtype == "longdouble":
        image = data.draw(arrays(np.float64, (3, 4))).astype(np.longdouble)
    elif dtype == "float16":
        image = data.draw(arrays(np.uint16, (3, 4))).view(np.float16)
    else:
        image = data.draw(arrays(np.dtype(dtype), (3, 4)))
    pixels = PlaneSource.wrap(image).read(Window(0, 0, 3, 4))
    assert pixels.shape == (3, 4, 3)
    assert pixels.min() >= 0
    assert pixels.max() <= 1


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64", "uint64"])
def test_stretch_is_monotone_and_uses_the_whole_range(dtype: str):
    image = np.arange(10_000).reshape(100, 100).astype(dtype)
    pixels = PlaneSource.wrap(image).read(Window(0, 0, 100, 100))[..., 0]
    assert pixels[0, 0] == 0
    assert pixels[-1, -1] == 1
    assert (np.diff(pixels.ravel()) >= 0).all()


def test_large_offsets_do_not_cost_precision():
    image = (2**62 + np.arange(100, dtype=np.int64) * 4096).reshape(10, 10)
    pixels = PlaneSource.wrap(image).read(Window(0, 0, 10, 10))[..., 0]
    assert len(np.unique(pixels)) > 90


def test_nan_and_infinities_are_the_low_end():
    image = np.linspace(5, 6, 100).reshape(10, 10)
    image[0, 5:8] = (np.nan, np.inf, -np.inf)
    pixels = PlaneSource.wrap(image).read(Window(0, 0, 10, 10))[..., 0]
    assert pixels[0, 5:8].tolist() == [0, 0, 0]
    assert pixels[9, 9] == 1


@pytest.mark.parametrize("dtype", ["u1", "?", ">i4", "u8", "f4"])
@pytest.mark.parametrize("lazy", [False, True])
def test_masked_values_are_the_low_end_and_do_not_count_for_the_stretch(dtype: str, lazy: bool):
    image = (np.arange(120).reshape(10, 12) % 2 * 200).astype(dtype)
    mask = np.zeros(image.shape, bool)
    mask[:4] = True
    hidden = image.copy()
    hidden[mask] = True if dtype == "?" else np.finfo(dtype).max if dtype == "f4" else np.iinfo(dtype).max
    masked = np.ma.masked_array(hidden, mask)
    source = PlaneSource.wrap(da.from_array(masked, chunks=(5, 5)) if lazy else masked)
    pixels = source.read(whole(source))
    assert not pixels[:4].any()
    np.testing.assert_array_equal(pixels[4:], PlaneSource.wrap(image).read(whole(source))[4:])


@pytest.mark.parametrize("value", [0.0, 7.5, -1e30, np.nan, np.inf])
def test_constant_images_are_0(value: float):
    pixels = PlaneSource.wrap(np.full((4, 4), value)).read(Window(0, 0, 4, 4))
    assert not pixels.any()


def test_a_few_bright_pixels_on_nothing_are_seen():
    image = np.zeros((200, 200), np.uint16)
    image[3, 3] = 900
    pixels = PlaneSource.wrap(image).read(Window(0, 0, 200, 200))
    assert pixels[3, 3, 0] == 1
    assert pixels.sum() == 3


def test_the_stretch_is_the_same_for_every_window_and_plane():
    stack = rng().integers(0, 60_000, (3, 40, 40), np.uint16)
    stack[1] //= 10
    source = PlaneSource.wrap(stack)
    full = source.read(Window(0, 0, 40, 40), (1,))
    np.testing.assert_array_equal(PlaneSource.wrap(stack).read(Window(5, 6, 9, 30), (1,)), full[5:9, 6:30])
    assert full.max() < 0.15


def test_one_pixel_images():
    for image in (np.array([[200]], np.uint8), np.array([[[1, 2, 3]]], np.uint8), np.array([[3.5]])):
        source = PlaneSource.wrap(image)
        assert source.read(Window(0, 0, 1, 1), scale=3).shape == (1, 1, 3)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 23),
    cols=st.integers(1, 23),
    scale=st.integers(1, 7),
    top=st.integers(0, 22),
    left=st.integers(0, 22),
)
def test_scaled_reads_are_area_means(rows: int, cols: int, scale: int, top: int, left: int):
    image = np.random.default_rng(rows * 23 + cols).integers(0, 256, (rows, cols), np.uint8)
    window = Window(min(top, rows - 1), min(left, cols - 1), rows, cols)
    pixels = PlaneSource.wrap(image).read(window, scale=scale)[..., 0]
    part = image[window.slices] / 255
    expected = [
        [part[r : r + scale, c : c + scale].mean() for c in range(0, part.shape[1], scale)]
        for r in range(0, part.shape[0], scale)
    ]
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


def pyramid(image: np.ndarray, count: int) -> list[np.ndarray]:
    levels = [image]
    for _ in range(count - 1):
        fine = levels[-1]
        levels.append(fine.reshape(fine.shape[0] // 2, 2, fine.shape[1] // 2, 2).mean((1, 3)))
    return levels


def test_multiscale_reads_equal_those_of_the_finest_level():
    image = np.kron(rng().random((16, 16)), np.ones((4, 4)))
    image[0, :2] = (0, 1)
    levels = [Counting(level) for level in pyramid(image, 3)]
    source = PlaneSource.wrap(levels)
    for scale in (1, 2, 3, 4, 6, 8):
        window = Window(8, 12, 61, 64)
        coarse = source.read(window, scale=scale)
        fine = PlaneSource(PlaneSource.wrap(image)._pyramid)
        fine._stretch = source.stretch()
        np.testing.assert_allclose(coarse, fine.read(window, scale=scale), atol=1e-6)


def test_the_coarsest_level_that_is_fine_enough_is_read():
    levels = [Counting(level) for level in pyramid(np.zeros((64, 64)), 4)]
    source = PlaneSource.wrap(levels)
    source.stretch()
    for scale, wanted in ((1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (50, 3)):
        before = [level.read for level in levels]
        source.read(Window(0, 0, 64, 64), scale=scale)
        assert [level.read > b for level, b in zip(levels, before, strict=True)].index(True) == wanted


def test_levels_with_odd_sizes_cover_the_last_pixels():
    image = rng().integers(0, 256, (101, 67), np.uint8)
    for coarse in (image[::2, ::2], image[: 101 // 2 * 2 : 2, : 67 // 2 * 2 : 2]):
        pixels = PlaneSource.wrap([image, coarse]).read(Window(90, 60, 101, 67), scale=2)
        assert pixels.shape == (6, 4, 3)
        assert np.isfinite(pixels).all()


def test_only_the_window_is_read():
    array = Counting(rng().integers(0, 256, (500, 400), np.uint8))
    PlaneSource.wrap(array).read(Window(100, 50, 120, 90))
    assert array.read == 20 * 40


def test_the_stretch_of_a_huge_image_reads_a_bounded_sample():
    array = Counting(np.zeros(1, np.uint16), shape=(50, 100_000, 90_000))
    PlaneSource.wrap(array).stretch()
    assert 100_000 < array.read <= MOST_VALUES


@pytest.mark.parametrize("planes", [1, 5, 1000])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30_000_000), (300, 200), (2048, 2048), (3000, 40_000)])
@pytest.mark.parametrize("bands", [1, 3])
def test_samples_are_bounded_and_inside(shape: tuple[int, int], planes: int, bands: int):
    places = sample_places(shape, planes, bands)
    assert 0 < sum(w.height * w.width for _, w in places) * bands <= MOST_VALUES
    for plane, window in places:
        assert 0 <= plane < planes
        assert window.height > 0
        assert window.width > 0
        assert window.intersect(Window.of_shape(shape)) == window


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_iseg.images.blocks.BLOCK_BYTES", 2000)
    monkeypatch.setattr("napari_iseg.images.blocks.STRIP_VALUES", 500)


@pytest.mark.parametrize("scale", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("levels", [1, 3])
def test_averaging_in_blocks_gives_the_same_bits(scale: int, levels: int, request: pytest.FixtureRequest):
    images = pyramid(rng().random((176, 160)), levels)
    source, window = PlaneSource.wrap(images), Window(2, 3, 175, 158)
    expected = source.read(window, scale=scale)
    request.getfixturevalue("small_blocks")
    np.testing.assert_array_equal(source.read(window, scale=scale), expected)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("chunks", [(16, 16), (32, 48), (90, 80), (7, 80), (90, 5)])
@pytest.mark.parametrize("scale", [1, 3, 8, 50])
def test_every_chunk_is_decoded_once(chunks: tuple[int, int], scale: int):
    decoded = []

    class Counted(zarr.storage.WrapperStore):
        async def get(self, key, *args, **options):
            decoded.append(key)
            return await super().get(key, *args, **options)

    image = rng().integers(1, 256, (90, 80), np.uint8)
    stored = zarr.create_array(Counted(zarr.storage.MemoryStore()), data=image, chunks=chunks)
    window = Window(5, 3, 89, 80)
    decoded.clear()
    pixels = PlaneSource.wrap(stored).read(window, scale=scale)
    down, across = (
        range(low // c, -(-high // c)) for low, high, c in zip((5, 3), (89, 80), chunks, strict=True)
    )
    assert sorted(decoded) == sorted(f"c/{row}/{col}" for row in down for col in across)
    np.testing.assert_array_equal(pixels, PlaneSource.wrap(image).read(window, scale=scale))


@pytest.mark.usefixtures("small_blocks")
def test_dask_chunks_of_any_sizes_are_computed_once():
    image, computed = rng().integers(0, 256, (90, 80), np.uint8), []

    def part(block, block_info=None):
        computed.append(block_info[0]["chunk-location"])
        return block

    lazy = da.from_array(image, chunks=((10, 50, 30), (33, 47))).map_blocks(part, dtype=np.uint8)
    computed.clear()
    pixels = PlaneSource.wrap(lazy).read(Window(0, 0, 90, 80), scale=7)
    assert len(computed) == 6
    np.testing.assert_array_equal(pixels, PlaneSource.wrap(image).read(Window(0, 0, 90, 80), scale=7))


def test_dask_chunks_of_unknown_size_are_refused():
    image = da.from_array(rng().random((8, 8)), (4, 8))
    with pytest.raises(InputError, match=r"compute_chunk_sizes\(\)"):
        PlaneSource.wrap(image[image[:, 0] > -1])


def test_zarr_dask_and_xarray_like_read_as_numpy(tmp_path):
    image = rng().integers(0, 60_000, (4, 70, 60), np.uint16)
    stored = zarr.create_array(str(tmp_path / "a.zarr"), data=image, chunks=(1, 32, 32))
    window = Window(10, 5, 50, 60)
    expected = PlaneSource.wrap(image).read(window, (2,), scale=2)
    for other in (stored, da.from_array(image, chunks=(1, 32, 32)), image.tolist()):
        np.testing.assert_array_equal(PlaneSource.wrap(other).read(window, (2,), scale=2), expected)


def test_named_axes_tell_channels_and_planes():
    class Named:
        dims = ("band", "time", "y", "x")

        def __init__(self, data):
            self.data = data

    image = rng().integers(0, 256, (2, 3, 5, 4), np.uint8)
    source = PlaneSource.wrap(Named(image))
    assert (source.shape, source.leading_shape) == ((5, 4), (3,))
    pixels = source.read(Window(0, 0, 5, 4), (1,))
    np.testing.assert_array_equal(pixels[..., 1], image[1, 1].astype(np.float32) / 255)


def test_list_like_multiscale_data_of_a_viewer():
    class MultiScale:
        def __init__(self, levels):
            self.levels, self.dtype, self.shape, self.ndim = levels, levels[0].dtype, levels[0].shape, 2

        def __len__(self):
            return len(self.levels)

        def __getitem__(self, i):
            return self.levels[i]

        def __iter__(self):
            return iter(self.levels)

    from collections.abc import Sequence

    Sequence.register(MultiScale)
    levels = pyramid(rng().random((16, 16)), 2)
    pixels = PlaneSource.wrap(MultiScale(levels)).read(Window(0, 0, 16, 16), scale=2)
    np.testing.assert_array_equal(pixels, PlaneSource.wrap(levels).read(Window(0, 0, 16, 16), scale=2))


def test_a_source_is_returned_as_it_is():
    source = PlaneSource.wrap(np.zeros((3, 3)))
    assert PlaneSource.wrap(source) is source
    with pytest.raises(InputError, match="wrap the array anew"):
        PlaneSource.wrap(source, bands=(0,))


def test_tables_read_as_numpy():
    table = pytest.importorskip("pandas").DataFrame(np.arange(12.0).reshape(3, 4))
    source = PlaneSource.wrap(table)
    np.testing.assert_array_equal(
        source.read(whole(source)), PlaneSource.wrap(table.to_numpy()).read(whole(source))
    )


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda _: 1 / 0, r"^The image could not be computed \(ZeroDivisionError: .*\); mend what computes"),
        (lambda block: block[:5], r"^The image gave \(5, 8\) values where its shape \(8, 8\) .* \(8, 8\)"),
    ],
)
def test_blocks_that_cannot_be_computed_are_told(compute, words: str):
    image = da.map_blocks(compute, da.zeros((8, 8)), dtype="f8", chunks=(8, 8), meta=np.zeros((0, 0)))
    source = PlaneSource.wrap(image)
    with pytest.raises(InputError, match=words):
        source.read(whole(source))


def test_a_zarr_group_is_called_so_with_what_it_holds():
    group = zarr.create_group(store={})
    for name in ("0", "1"):
        group.create_array(name, shape=(4, 4), dtype="u1")
    with pytest.raises(
        InputError, match=r"is a zarr group, which holds '0', '1'; give an array of it, as group"
    ):
        PlaneSource.wrap(group)
    assert PlaneSource.wrap([group["0"]]).shape == (4, 4)


REFUSED = {
    "complex": (np.zeros((3, 3), complex), {}, "magnitude"),
    "object": (np.full((3, 3), None), {}, "no numbers"),
    "text": (np.full((3, 3), "a"), {}, "no numbers"),
    "times": (np.zeros((3, 3), "datetime64[s]"), {}, "no numbers"),
    "sparse": (sparse.csr_array(np.eye(3)), {}, r"sparse matrix; .* image.toarray\(\)"),
    "with gradients": (torch.zeros(3, 3, requires_grad=True), {}, r"detach\(\)"),
    "path": ("image.tif", {}, "open the file first"),
    "ragged": ([[1, 2], [3]], {}, "no array of numbers"),
    "nothing": ([], {}, "empty"),
    "no rows": (np.zeros((0, 5)), {}, "empty"),
    "no planes": (np.zeros((0, 5, 5)), {}, "empty"),
    "one axis": (np.zeros(5), {}, "rows and columns"),
    "not rgb": (np.zeros((5, 5, 7)), {"rgb": True}, "3 or 4 values"),
    "rgb and channels": (np.zeros((5, 5, 3)), {"rgb": True, "channel_axis": 0}, "not both"),
    "no such axis": (np.zeros((5, 5, 3)), {"channel_axis": 3}, "does not exist"),
    "channels only": (np.zeros((5, 5)), {"channel_axis": 0}, "needs two axes"),
    "same axes": (np.zeros((5, 5, 6)), {"plane_axes": (1, 1)}, "two different axes"),
    "an axis by name": (np.zeros((5, 5, 3)), {"channel_axis": "c"}, "by number"),
    "an axis for two": (np.zeros((5, 5, 6)), {"plane_axes": 3}, "two axes"),
    "bands by name": (np.zeros((5, 5, 6)), {"channel_axis": 2, "bands": "rgb"}, "whole numbers"),
    "one plane axis": (np.zeros((5, 5, 6)), {"plane_axes": (1,)}, "two axes"),
    "no such band": (np.zeros((5, 5, 6)), {"channel_axis": 2, "bands": (6,)}, "from 0 to 5"),
    "negative band": (np.zeros((5, 5, 6)), {"channel_axis": 2, "bands": (-1,)}, "from 0 to 5"),
    "four bands": (np.zeros((5, 5, 6)), {"channel_axis": 2, "bands": (0, 1, 2, 3)}, "one to three"),
    "bands of grey": (np.zeros((5, 5)), {"bands": (0,)}, "channel_axis"),
    "growing levels": ([np.zeros((5, 5)), np.zeros((9, 9))], {}, "finest first"),
    "equal levels": ([np.zeros((5, 5)), np.zeros((5, 5))], {}, "stack"),
    "levels of other axes": ([np.zeros((5, 5)), np.zeros((2, 2, 2))], {}, "same axes"),
    "levels of other channels": (
        [np.zeros((8, 8, 3)), np.zeros((4, 4, 1))],
        {"channel_axis": 2},
        "same channels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_sentence(case: str):
    image, options, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as refusal:
        PlaneSource.wrap(image, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "window", [Window(0, 0, 0, 3), Window(-1, 0, 2, 2), Window(0, 0, 3, 6), Window(4, 4, 2, 2)]
)
def test_windows_outside_are_refused(window: Window):
    with pytest.raises(InputError, match="does not lie inside"):
        PlaneSource.wrap(np.zeros((5, 5))).read(window)


@pytest.mark.parametrize("plane", [(), (3,), (-1,), (0, 0)])
def test_planes_that_do_not_exist_are_refused(plane: tuple[int, ...]):
    with pytest.raises(InputError, match="plane"):
        PlaneSource.wrap(np.zeros((3, 5, 5))).read(Window(0, 0, 1, 1), plane)


def test_scale_zero_is_refused():
    with pytest.raises(InputError, match="scale"):
        PlaneSource.wrap(np.zeros((5, 5))).read(Window(0, 0, 1, 1), scale=0)


def test_a_refusal_of_bands_says_where_counting_starts() -> None:
    with pytest.raises(InputError, match=r"0 to 4 \(the first is 0\), got \[1, 2, 3, 4\]"):
        PlaneSource.wrap(np.zeros((5, 20, 30), np.uint8), channel_axis=0, bands=(1, 2, 3, 4))
