import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.photographs import cut

from forebay.transforms.image_output import ImageOutput, bits16, plain
from forebay.transforms.image_pixels import interleaved, planar
from forebay.transforms.image_placement import Placement
from forebay.transforms.image_render import Renderer
from forebay.transforms.kernels.image_resample import ANTIALIAS, BICUBIC, BILINEAR


def resampled(image, crop, size, filter=ANTIALIAS, window=None, flip=(False, False), output=None):
    output = output or plain(image.shape[2])
    placement = Placement(
        np.array([crop]), np.array([size]), np.array([window or (0, 0, *size)]), np.array([flip]), filter
    )
    rows, columns = placement.sizes[0]
    flat = np.zeros(len(output.scale) * rows * columns, output.dtype)
    Renderer(placement).draw(interleaved(image), 0, output=output, flat=flat, place=0)
    return flat.reshape((rows, columns, -1) if output.last else (-1, rows, columns))


def oracle(image, crop, size, filter):
    """The same resize in float64: a matrix of weights on either side."""
    top, left, height, width = crop
    part = image[top : top + height, left : left + width].astype(np.float64)
    for axis, (length, out) in enumerate(zip((height, width), size, strict=True)):
        scale = length / out
        stretch = 1.0 if filter == BILINEAR else max(scale, 1.0)
        away = np.abs((np.arange(length) + 0.5)[None] - ((np.arange(out) + 0.5) * scale)[:, None]) / stretch
        if filter == BICUBIC:
            weights = np.where(
                away < 1,
                (1.5 * away - 2.5) * away**2 + 1,
                np.where(away < 2, ((-0.5 * away + 2.5) * away - 4) * away + 2, 0),
            )
        else:
            weights = np.maximum(1 - away, 0)
        weights /= weights.sum(axis=1, keepdims=True)
        part = np.moveaxis(np.tensordot(weights, part, (1, axis)), 0, axis)
    return np.clip(part, 0, 255).transpose(2, 0, 1)


@st.composite
def crops(draw):
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    crop = (top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))
    return (height, width), crop, (draw(st.integers(1, 40)), draw(st.integers(1, 40)))


@settings(max_examples=150, deadline=None)
@given(crops(), st.sampled_from([ANTIALIAS, BILINEAR, BICUBIC]), st.integers(0, 2**32 - 1))
def test_equals_a_matrix_product_in_float64(shape, filter, seed):
    (height, width), crop, size = shape
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = resampled(image, crop, size, filter)
    assert np.abs(found - oracle(image, crop, size, filter)).max() <= 0.501


@pytest.mark.parametrize("crop", [(10, 20, 280, 360), (0, 0, 100, 90), (0, 0, 300, 400), (5, 6, 1, 1), (3, 4, 200, 2)])
@pytest.mark.parametrize("size", [(224, 224), (32, 33), (7, 150)])
def test_is_within_one_grey_level_of_pillow(crop, size):
    image = cut(0, 300, 400)
    top, left, height, width = crop
    part = Image.fromarray(image[top : top + height, left : left + width])
    expected = np.asarray(part.resize(size[::-1], Image.Resampling.BILINEAR)).transpose(2, 0, 1).astype(int)
    assert np.abs(resampled(image, crop, size).astype(int) - expected).max() <= 1


def test_bicubic_is_near_pillow():
    image = cut(1, 300, 400)
    expected = np.asarray(Image.fromarray(image).resize((150, 140), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    away = np.abs(resampled(image, (0, 0, 300, 400), (140, 150), BICUBIC).astype(int) - expected)
    assert away.max() <= 6 and away.mean() < 0.2


@settings(max_examples=50, deadline=None)
@given(crops(), st.data())
def test_a_window_and_flips_are_exactly_those_of_the_whole(shape, data):
    (height, width), crop, size = shape
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    rows, columns = data.draw(st.integers(1, size[0] - top)), data.draw(st.integers(1, size[1] - left))
    flip = data.draw(st.tuples(st.booleans(), st.booleans()))
    found = resampled(image, crop, size, window=(top, left, rows, columns), flip=flip)
    expected = resampled(image, crop, size)[:, top : top + rows, left : left + columns]
    expected = expected[:, :: -1 if flip[0] else 1, :: -1 if flip[1] else 1]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("last", [False, True])
def test_outputs_are_functions_of_the_grey_level(last):
    image = cut(2, 90, 80)
    where = ((0, 0, 90, 80), (33, 31))
    grey = resampled(image, *where)
    scale, shift = np.array([0.1, 0.2, 0.3], np.float32), np.array([1, -2, 3], np.float32)
    made = resampled(image, *where, output=ImageOutput.float32(scale, shift, last=last))
    expected = grey * scale[:, None, None] + shift[:, None, None]
    assert np.array_equal(made, expected.transpose(1, 2, 0) if last else expected)
    table = bits16(scale, shift, "bfloat16")
    made = resampled(image, *where, output=ImageOutput.table16(table, "bfloat16", last=last))
    expected = np.stack([table[c][grey[c]] for c in range(3)], 2 if last else 0)
    assert np.array_equal(made, expected)
    assert np.array_equal(
        resampled(image, *where, output=plain(3, last=last)), grey.transpose(1, 2, 0) if last else grey
    )


def test_planar_and_grey_images_give_what_interleaved_ones_give():
    image = cut(3, 90, 80)
    placement = Placement(
        np.array([[5, 6, 70, 60]]), np.array([[20, 30]]), np.array([[0, 0, 20, 30]]), np.zeros((1, 2), bool), ANTIALIAS
    )
    flat = np.zeros(3 * 600, np.uint8)
    chw = np.ascontiguousarray(image.transpose(2, 0, 1))
    Renderer(placement).draw(planar(chw), 0, output=plain(3), flat=flat, place=0)
    expected = resampled(image, (5, 6, 70, 60), (20, 30))
    assert np.array_equal(flat.reshape(3, 20, 30), expected)
    grey = np.zeros(600, np.uint8)
    Renderer(placement).draw(planar(chw[1:2].copy()), 0, output=plain(1), flat=grey, place=0)
    assert np.array_equal(grey.reshape(20, 30), expected[1])


def test_bfloat16_is_rounded_to_nearest_even():
    torch = pytest.importorskip("torch")
    scale, shift = np.array([1 / 58.4, 0.017], np.float32), np.array([-2.1, 0.3], np.float32)
    values = np.arange(256, dtype=np.float32) * scale[:, None] + shift[:, None]
    expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(bits16(scale, shift, "bfloat16"), expected)
    assert np.array_equal(bits16(scale, shift, "float16"), values.astype(np.float16).view(np.uint16))
