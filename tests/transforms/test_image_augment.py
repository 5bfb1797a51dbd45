"""The augmentations that paint: what they draw, and RandAugment against torchvision's list."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from support.photographs import cut

from forebay import transforms as T
from forebay.transforms.randaugment import OPERATIONS


def planar(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def test_color_jitter_draws_in_range_and_in_any_order():
    jitter = T.ColorJitter(0.4, contrast=(0.5, 0.8), saturation=0, hue=0.1)
    assert (jitter.brightness, jitter.contrast) == ((0.6, 1.4), (0.5, 0.8))
    assert (jitter.saturation, jitter.hue) == ((1.0, 1.0), (-0.1, 0.1))
    image = planar(cut(0, 16, 16))
    order = [0.1, 0.2, 0.3, 0.4]
    first = jitter.paint(image.copy(), np.array([0.9, 0.1, 0.5, 0.8, *order]))
    again = jitter.paint(image.copy(), np.array([0.9, 0.1, 0.5, 0.8, *order]))
    turned = jitter.paint(image.copy(), np.array([0.9, 0.1, 0.5, 0.8, *order[::-1]]))
    assert np.array_equal(first, again) and not np.array_equal(first, turned)
    assert np.array_equal(T.ColorJitter().paint(image.copy(), np.full(8, 0.3)), image)


def test_random_grayscale_draws_once():
    image = planar(cut(0, 8, 8))
    assert np.array_equal(T.RandomGrayscale(0.5).paint(image.copy(), np.array([0.6])), image)
    grey = T.RandomGrayscale(0.5).paint(image.copy(), np.array([0.4]))
    assert np.array_equal(grey[0], grey[1]) and np.array_equal(grey[0], grey[2])


def test_random_erasing_fills_one_rectangle_of_documented_area_and_shape():
    rng = np.random.default_rng(0)
    erase = T.RandomErasing(1.0, value=(1, 2, 3))
    areas = []
    for _ in range(300):
        found = erase.paint(np.full((3, 60, 80), 200, np.uint8), rng.random(erase.draws))
        mask = found[0] != 200
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        h, w = ys[-1] - ys[0] + 1, xs[-1] - xs[0] + 1
        assert mask.sum() == h * w and (found[:, ys[0], xs[0]] == [1, 2, 3]).all()
        assert 0.25 < h / w < 4
        areas.append(h * w / 4800)
    assert 0.01 < min(areas) < 0.05 and 0.28 < max(areas) < 0.35
    assert np.array_equal(
        T.RandomErasing(0.0).paint(np.zeros((3, 5, 5), np.uint8), rng.random(23)), np.zeros((3, 5, 5))
    )


def reference(name, picture, part, sign):
    """torchvision.transforms.RandAugment's operations on a Pillow image."""
    width, height = picture.size
    affine = lambda data: picture.transform(picture.size, Image.Transform.AFFINE, data)  # noqa: E731
    return {
        "Identity": lambda: picture,
        "ShearX": lambda: affine((1, sign * 0.3 * part, 0, 0, 1, 0)),
        "ShearY": lambda: affine((1, 0, 0, sign * 0.3 * part, 1, 0)),
        "TranslateX": lambda: affine((1, 0, -int(sign * 150 / 331 * width * part), 0, 1, 0)),
        "TranslateY": lambda: affine((1, 0, 0, 0, 1, -int(sign * 150 / 331 * height * part))),
        "Rotate": lambda: picture.rotate(sign * 30 * part),
        "Brightness": lambda: ImageEnhance.Brightness(picture).enhance(1 + sign * 0.9 * part),
        "Color": lambda: ImageEnhance.Color(picture).enhance(1 + sign * 0.9 * part),
        "Contrast": lambda: ImageEnhance.Contrast(picture).enhance(1 + sign * 0.9 * part),
        "Sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(1 + sign * 0.9 * part),
        "Posterize": lambda: ImageOps.posterize(picture, 8 - round(4 * part)),
        "Solarize": lambda: ImageOps.solarize(picture, 255 * (1 - part)),
        "AutoContrast": lambda: ImageOps.autocontrast(picture),
        "Equalize": lambda: ImageOps.equalize(picture),
    }[name]()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("side", [0.2, 0.7])
def test_rand_augment_does_what_torchvisions_list_says(name, magnitude, side):
    image = cut(1, 50, 64)
    augment = T.RandAugment(1, magnitude=magnitude)
    which = (OPERATIONS.index(name) + 0.5) / len(OPERATIONS)
    found = augment.paint(planar(image), np.array([which, side])).transpose(1, 2, 0).astype(int)
    sign = -1.0 if side < 0.5 else 1.0
    expected = np.asarray(reference(name, Image.fromarray(image), magnitude / 30, sign)).astype(int)
    away = np.abs(found - expected).max(axis=2)
    assert (away > 2).mean() < 0.02  # Pillow's nearest neighbour is in fixed point, so ties may go the other way


def test_rand_augment_has_torchvisions_fourteen_operations():
    expected = (
        "AutoContrast Brightness Color Contrast Equalize Identity Posterize Rotate Sharpness ShearX ShearY Solarize"
    )
    assert sorted(OPERATIONS) == sorted([*expected.split(), "TranslateX", "TranslateY"])
    assert T.RandAugment(3).draws == 6
