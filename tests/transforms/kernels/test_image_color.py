import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from support.photographs import cut

from forebay.transforms import image_tables as tables
from forebay.transforms.image_blur import gaussian
from forebay.transforms.image_rotate import rotation, warped
from forebay.transforms.kernels.image_warp import blur_into

FACTORS = st.floats(0, 2, width=32)


def planar(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def apply(function, image, *args):
    return function(planar(image), *args).transpose(1, 2, 0)


@settings(max_examples=25, deadline=None)
@given(FACTORS, st.integers(0, 100))
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (tables.brightness, ImageEnhance.Brightness),
        (tables.contrast, ImageEnhance.Contrast),
        (tables.saturation, ImageEnhance.Color),
        (tables.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_a_blend_is_within_one_grey_level_of_pillows(ours, theirs, factor, seed):
    image = cut(seed, 24, 31)
    expected = np.asarray(theirs(Image.fromarray(image)).enhance(factor)).astype(int)
    # contrast: Pillow rounds the mean first; sharpness: Pillow rounds the smooth copy
    assert np.abs(apply(ours, image, factor) - expected).max() <= 1 + (ours is tables.sharpness)


@pytest.mark.parametrize("seed", range(6))
def test_tables_are_pillows(seed):
    image = cut(seed, 40, 31)
    image = image // (1 + seed % 3) + 10 * (seed % 2)
    picture = Image.fromarray(image)
    assert np.array_equal(apply(tables.equalize, image), np.asarray(ImageOps.equalize(picture)))
    assert np.abs(apply(tables.autocontrast, image).astype(int) - np.asarray(ImageOps.autocontrast(picture))).max() <= 1
    for bits in range(1, 9):
        assert np.array_equal(apply(tables.posterize, image, bits), np.asarray(ImageOps.posterize(picture, bits)))
    for threshold in (0, 1, 128, 255, 256):
        assert np.array_equal(
            apply(tables.solarize, image, threshold), np.asarray(ImageOps.solarize(picture, threshold))
        )
    luma = np.asarray(picture.convert("L"))
    assert np.array_equal(apply(tables.grayscale, image), np.repeat(luma[:, :, None], 3, 2))


def test_flat_images_stay_as_they_are():
    flat = np.full((5, 6, 3), 77, np.uint8)
    for step in (tables.equalize, tables.autocontrast, lambda p: tables.hue(p, 0.3), lambda p: tables.contrast(p, 1.7)):
        assert np.array_equal(apply(step, flat), flat)


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.5, 0.5, width=32), st.integers(0, 2**32 - 1))
def test_hue_is_that_of_hsv(turn, seed):
    image = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    expected = np.empty(image.shape)
    for y, x in np.ndindex(4, 5):
        h, s, v = colorsys.rgb_to_hsv(*(image[y, x] / 255))
        expected[y, x] = np.array(colorsys.hsv_to_rgb((h + turn) % 1, s, v)) * 255
    assert np.abs(apply(tables.hue, image, turn) - expected).max() <= 0.51


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.sampled_from([1, 3, 5, 9]), st.floats(0.1, 3))
def test_blur_equals_a_convolution_of_the_mirrored_image(height, width, taps, sigma):
    image = planar(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))
    weights, radius = gaussian(taps, sigma), taps // 2
    out, rows = np.empty_like(image), np.empty((height, width), np.float32)
    blur_into(image, weights, rows, out)
    wide = np.pad(image.astype(np.float64), ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    for axis in (1, 2):
        wide = np.apply_along_axis(np.convolve, axis, wide, weights.astype(np.float64), mode="valid")
    assert abs(weights.sum() - 1) < 1e-6 and np.abs(out - wide).max() <= 0.51


@pytest.mark.parametrize("degrees", [0, 30, -12.5, 90, 180, 271.3])
@pytest.mark.parametrize("shape", [(40, 40), (31, 52)])
def test_rotation_is_pillows(degrees, shape):
    image = cut(0, *shape)
    for smooth, filter in ((False, Image.Resampling.NEAREST), (True, Image.Resampling.BILINEAR)):
        found = warped(planar(image), rotation(degrees, *shape), smooth=smooth, fill=9).transpose(1, 2, 0).astype(int)
        expected = np.asarray(Image.fromarray(image).rotate(degrees, filter, fillcolor=(9, 9, 9))).astype(int)
        away = np.abs(found - expected).max(axis=2)
        if smooth:  # Pillow leaves the last half pixel at the edge unmixed
            inner = np.asarray(Image.new("L", shape[::-1], 1).rotate(degrees, Image.Resampling.NEAREST)) == 1
            inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
            inner[[0, -1]], inner[:, [0, -1]] = False, False
            away = away[inner]
        # where a place falls on the border of two pixels either may be taken
        assert (away > 1).mean() < (0.02 if not smooth else 0.001)
