import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.photographs import cut, encoded

from forebay import transforms as T
from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms.fuse_image import fuse
from forebay.transforms.transform import Rows


def batch_of(files, type=None):
    return pa.record_batch([pa.array(files, type or pa.binary())], ["image"])


def rows_of(batch):
    return Rows(np.arange(batch.num_rows, dtype=np.uint64))


def run(chain, files, type=None):
    batch = batch_of(files, type)
    return fuse(chain, batch.schema, [None] * len(chain), range(len(chain))).run(batch, rows_of(batch))["image"]


def pixels(column, row=0):
    """(H, W, C) of a decoded row."""
    one = column[row].as_py()
    shape = one["channels"], one["height"], one["width"]
    return np.frombuffer(one["pixels"], np.uint8).reshape(shape).transpose(1, 2, 0)


def pillow(file, mode="RGB"):
    shown = np.asarray(Image.open(io.BytesIO(file)).convert(mode))
    return shown.reshape(*shown.shape[:2], -1)


@pytest.mark.parametrize("type", [pa.binary(), pa.large_binary()])
def test_jpeg_is_what_libjpeg_turbo_gives(type):
    files = [encoded(cut(0, 61, 47)), encoded(cut(1, 33, 90), progressive=True), encoded(cut(2, 1, 1))]
    found = run([T.DecodeImage()], files, type)
    for row, file in enumerate(files):
        assert np.array_equal(pixels(found, row), pillow(file))


@pytest.mark.parametrize(
    "kind, options", [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("GIF", {}), ("TIFF", {})]
)
def test_other_kinds_are_what_pillow_gives(kind, options):
    file = encoded(cut(0, 31, 47), kind, **options)
    assert np.array_equal(pixels(run([T.DecodeImage()], [file])), pillow(file))


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("wanted", ["RGB", "L"])
def test_grey_palette_alpha_cmyk_and_16_bits(mode, wanted):
    image = Image.fromarray(cut(1, 24, 20))
    if mode == "I;16":
        deep = np.arange(480, dtype=np.uint16).reshape(24, 20) * 136
        file = encoded(Image.fromarray(deep), "PNG")
        expected = np.repeat((deep >> 8)[:, :, None], 3 if wanted == "RGB" else 1, 2)
    else:
        image = image.convert(mode)
        file = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
        expected = pillow(file, wanted)
    assert np.array_equal(pixels(run([T.DecodeImage(mode=wanted)], [file])), expected)


def test_grey_and_cmyk_jpeg():
    grey = encoded(Image.fromarray(cut(0, 40, 30)).convert("L"))
    cmyk = encoded(Image.fromarray(cut(0, 40, 30)).convert("CMYK"))
    found = run([T.DecodeImage()], [grey, cmyk])
    assert np.array_equal(pixels(found, 0), pillow(grey)) and np.array_equal(pixels(found, 1), pillow(cmyk))
    assert np.array_equal(pixels(run([T.DecodeImage(mode="L")], [grey])), pillow(grey, "L"))
    colour = encoded(cut(0, 40, 30))
    luma = np.asarray(Image.open(io.BytesIO(colour)).convert("L")).astype(int)
    assert (
        np.abs(pixels(run([T.DecodeImage(mode="L")], [colour]))[:, :, 0] - luma).max() <= 4
    )  # luma of clipped colours


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_turns_images_as_pillow_does(kind, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(cut(0, 30, 44), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB"))
    assert np.array_equal(pixels(run([T.DecodeImage(orient=True)], [file])), expected)
    assert np.array_equal(pixels(run([T.DecodeImage()], [file])), pillow(file))
    turned = run([T.DecodeImage(orient=True), T.RandomResizedCrop(20)], [file])
    separate = run([T.DecodeImage(orient=True)], [file])
    schema = pa.schema([T.DecodeImage().field_after(pa.field("image", pa.binary()))])
    batch = pa.record_batch([separate], schema=schema)
    after = T.RandomResizedCrop(20).bind(schema, None, 1)(batch, Rows(np.zeros(1, np.uint64)))
    assert np.array_equal(turned.to_numpy_ndarray(), after["image"].to_numpy_ndarray())


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 150),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([{}, {"restart_marker_rows": 1}]),
)
def test_decoding_only_the_upper_rows_changes_no_bit(rows, factor, subsampling, options):
    from forebay.transforms.image_encoded import EncodedImages

    file = encoded(cut(3, 150, 64), subsampling=subsampling, **options)
    images = EncodedImages(batch_of([file])["image"], None, T.DecodeImage())
    shown, across = -(-rows // factor), 64 // factor
    whole = images.pixels(0, factor).data.reshape(-1, across, 3)[:shown].copy()
    if factor == 1:
        assert np.array_equal(whole, pillow(file)[:shown])
    part = images.pixels(0, factor, rows)
    assert part.height >= shown and np.array_equal(part.data.reshape(-1, across, 3)[:shown], whole)


def damaged():
    whole = encoded(cut(0, 200, 160))
    broken = bytearray(encoded(cut(1, 200, 160)))
    broken[len(broken) // 2 : len(broken) // 2 + 400] = np.random.default_rng(0).bytes(400)
    png = encoded(cut(0, 40, 40), "PNG")
    return {
        "cut short": whole[: len(whole) // 2],
        "damaged": bytes(broken),
        "no image": b"not an image at all",
        "empty": b"",
        "png cut short": png[: len(png) // 2],
        "only a header": whole[:200],
    }


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_file_is_a_bad_row_with_its_reason(name):
    good = encoded(cut(3, 40, 40))
    with pytest.raises(BadRows) as caught:
        run([T.DecodeImage()], [good, damaged()[name], good, damaged()[name]])
    assert caught.value.rows == [1, 3] and caught.value.column == "image"
    expected = {
        "cut short": "JPEG: ",
        "damaged": "JPEG: ",
        "no image": "not an image that Pillow can identify",
        "empty": "not an image that Pillow can identify",
        "png cut short": "PNG: damaged",
        "only a header": "",
    }[name]
    assert caught.value.reason.startswith(expected) and caught.value.reason


def test_a_file_cut_short_is_seen_even_where_its_end_is_not_needed():
    file = encoded(cut(0, 300, 100))
    chain = [T.DecodeImage(), T.CenterCrop((20, 50))]
    assert len(run(chain, [file])) == 1
    with pytest.raises(BadRows, match="JPEG: "):
        run(chain, [file[: len(file) // 2]])


def test_a_header_that_asks_for_too_much_memory_is_a_bad_row():
    file = bytearray(encoded(cut(0, 16, 16)))
    at = file.index(b"\xff\xc0") + 5
    file[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(BadRows, match="more than 178956970 pixels"):
        run([T.DecodeImage()], [bytes(file)])


def test_null_is_a_bad_row():
    with pytest.raises(BadRows, match="null where an image was expected") as caught:
        run([T.DecodeImage()], [encoded(cut(0, 8, 8)), None])
    assert caught.value.rows == [1]


def test_superfluous_bytes_harm_nothing():
    file = encoded(cut(0, 60, 60))
    sos = file.index(b"\xff\xda")
    for spoiled in (file + b"\0" * 100, file[:-2] + b"\0" * 30 + file[-2:], file[:sos] + b"\0\0\0" + file[sos:]):
        assert np.array_equal(pixels(run([T.DecodeImage()], [spoiled])), pillow(file))


def test_drop_corrupt_images_keeps_what_decodes():
    files = [encoded(cut(0, 30, 30)), None, *damaged().values(), encoded(cut(1, 20, 20), "PNG")]
    batch = batch_of(files)
    keep = T.DropCorruptImages().bind(batch.schema, None, 0)(batch, rows_of(batch))
    assert np.flatnonzero(keep).tolist() == [0, len(files) - 1]
    decoded = T.DecodeImage().output_schema(batch.schema)
    with pytest.raises(SchemaError, match="is decoded already; put it before DecodeImage"):
        T.DropCorruptImages().output_schema(decoded)


def test_fast_decoding_is_near_exact_decoding():
    files = [encoded(cut(at, 120, 160)) for at in range(4)]
    exact, fast = run([T.DecodeImage()], files), run([T.DecodeImage(fast=True)], files)
    away = [np.abs(pixels(exact, row).astype(int) - pixels(fast, row)) for row in range(4)]
    assert 0 < np.mean(away) < 3


def test_schemas_that_make_no_sense_are_refused():
    text = pa.schema([("image", pa.string())])
    with pytest.raises(SchemaError, match="column 'image' is string; expected encoded images"):
        T.DecodeImage().output_schema(text)
    with pytest.raises(SchemaError, match="no column 'photo'; the columns are image"):
        T.DecodeImage("photo").output_schema(text)
    decoded = T.DecodeImage().output_schema(batch_of([]).schema)
    with pytest.raises(SchemaError, match="holds decoded images already; leave DecodeImage out"):
        T.DecodeImage().output_schema(decoded)
    with pytest.raises(SchemaError, match="holds encoded images; put DecodeImage before"):
        T.Resize(8).output_schema(batch_of([]).schema)
    with pytest.raises(SpecError, match="mode is 'CMYK'; expected 'RGB' or 'L'"):
        T.DecodeImage(mode="CMYK")


def test_decoded_rows_of_another_shape_are_bad_rows():
    schema = T.DecodeImage().output_schema(batch_of([]).schema)
    good = {"pixels": bytes(12), "height": 2, "width": 2, "channels": 3}
    rows = [good, good | {"height": 3}, good | {"channels": 1}, None, good]
    batch = pa.record_batch([pa.array(rows, schema.field("image").type)], schema=schema)
    crop = T.CenterCrop(2).bind(schema, None, 0)
    with pytest.raises(BadRows, match="null where an image"):
        crop(batch, rows_of(batch))
    with pytest.raises(BadRows, match="another number of channels than the column's 3"):
        crop(batch.slice(2, 1), Rows(np.zeros(1, np.uint64)))
    with pytest.raises(BadRows, match="another number of bytes than channels"):
        crop(batch.slice(0, 2), Rows(np.zeros(2, np.uint64)))
