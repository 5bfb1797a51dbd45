import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.transforms.compiled import kernels
from forebay.transforms.image_output import ImageOutput, bits16, plain
from forebay.transforms.image_pixels import Pixels, interleaved, planar
from forebay.transforms.image_placement import Placement
from forebay.transforms.image_render import Renderer, crop_plan

crop = kernels("image_crop")


@st.composite
def windows(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    window = tuple(draw(st.integers(-9, 30)) for _ in range(2)) + tuple(draw(st.integers(1, 45)) for _ in range(2))
    return (height, width), window, draw(st.tuples(st.booleans(), st.booleans()))


def windowed(image, window, flip, fill):
    """The window of a (C, H, W) image by padding it widely and slicing."""
    top, left, rows, columns = window
    wide = np.pad(image, ((0, 0), (100, 100), (100, 100)), constant_values=fill)
    part = wide[:, 100 + top : 100 + top + rows, 100 + left : 100 + left + columns]
    return part[:, :: -1 if flip[0] else 1, :: -1 if flip[1] else 1]


OUTPUTS = {
    "uint8": plain(3),
    "uint8 last": plain(3, last=True),
    "float32": ImageOutput.float32(np.array([0.1, 2, 3], np.float32), np.array([1, 2, -3], np.float32), last=False),
    "float32 last": ImageOutput.float32(np.ones(3, np.float32), np.zeros(3, np.float32), last=True),
    "bits": ImageOutput.table16(
        bits16(np.ones(3, np.float32), np.ones(3, np.float32), "float16"), "float16", last=False
    ),
}


def values(grey, output):
    if output.dtype == np.float32:
        grey = grey * output.scale[:, None, None] + output.shift[:, None, None]
    elif output.dtype == np.float16:
        grey = np.stack([output.table[c][grey[c]] for c in range(3)]).view(np.float16)
    return grey.transpose(1, 2, 0) if output.last else grey


@settings(max_examples=80, deadline=None)
@given(windows(), st.sampled_from(sorted(OUTPUTS)), st.sampled_from(["planar", "interleaved"]))
def test_equals_padding_and_slicing(shape, kind, layout):
    (height, width), window, flip = shape
    image = np.random.default_rng(1).integers(0, 256, (3, height, width), dtype=np.uint8)
    pixels = planar(image) if layout == "planar" else interleaved(np.ascontiguousarray(image.transpose(1, 2, 0)))
    placement = Placement.whole(np.array([[height, width]]))
    placement.window[0], placement.flip[0], placement.fill = window, flip, (7,)
    output = OUTPUTS[kind]
    flat = np.zeros(3 * window[2] * window[3] + 5, output.dtype)
    Renderer(placement).draw(pixels, 0, output=output, flat=flat, place=5)
    expected = values(windowed(image, window, flip, 7), output)
    assert np.array_equal(flat[5:].reshape(expected.shape), expected)
    assert not flat[:5].any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_those_of_pillow(orientation):
    from PIL import Image, ImageOps

    image = np.random.default_rng(2).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    tagged = Image.fromarray(image)
    tagged.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(tagged)).transpose(2, 0, 1)
    pixels = interleaved(image).oriented(orientation)
    assert isinstance(pixels, Pixels) and (pixels.height, pixels.width) == expected.shape[1:]
    flat = np.zeros(image.size, np.uint8)
    placement = Placement.whole(np.array([[pixels.height, pixels.width]]))
    Renderer(placement).draw(pixels, 0, output=plain(3), flat=flat, place=0)
    assert np.array_equal(flat.reshape(expected.shape), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.sampled_from([16, 48, 64, 17, 40]), st.sampled_from([0, 64, 4, 32]), st.data())
def test_what_goes_past_the_caches_is_what_goes_through_them(rows, columns, skipped, data):
    image = np.random.default_rng(3).integers(0, 256, (3, rows + 3, columns + 5), dtype=np.uint8)
    placement = Placement.whole(np.array([[rows + 3, columns + 5]]))
    placement.window[0] = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 5)), rows, columns
    placement.flip[0] = data.draw(st.tuples(st.booleans(), st.booleans()))
    output, size = OUTPUTS["float32"], 3 * rows * columns
    made = []
    for past in (False, True):
        room = np.zeros(size * 4 + 256, np.uint8)
        first = -room.ctypes.data % 64 + skipped  # with other places than lines of memory, too
        flat = room[first : first + size * 4].view(np.float32)
        plan = crop_plan(placement, 0, planar(image))
        plan[0, crop.OUT] = 0
        how = (output.kind, 3, output.last, np.zeros(3, np.uint8), output.scale, output.shift, output.table)
        crop.crop_into(image.reshape(-1), plan, 0, 1, past, *how, np.empty(64, np.uint8), *output.targets(flat))
        assert not room[:first].any() and not room[first + size * 4 :].any()
        made.append(flat.copy())
    assert np.array_equal(*made)
    assert np.array_equal(
        made[0].reshape(3, rows, columns), values(windowed(image, placement.window[0], placement.flip[0], 0), output)
    )
