import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.photographs import cut, encoded

from forebay.transforms.kernels import image_headers as header
from forebay.transforms.kernels.image_headers import jpeg_headers_into


def headers(files):
    data = np.frombuffer(b"".join(files) or b" ", np.uint8)
    ends = np.cumsum([0, *map(len, files)])
    out = np.empty((len(files), header.FIELDS), np.int64)
    jpeg_headers_into(data, np.stack([ends[:-1], ends[1:]], 1), out)
    return out


@pytest.mark.parametrize("subsampling, unit", [(0, 8), (1, 8), (2, 16)])
def test_reads_size_components_and_rows_of_a_unit(subsampling, unit):
    (found,) = headers([encoded(cut(0, 37, 53), subsampling=subsampling)])
    assert found[[header.IS_JPEG, header.HEIGHT, header.WIDTH, header.COMPONENTS]].tolist() == [1, 37, 53, 3]
    assert found[header.UNIT_ROWS] == unit and found[header.SEQUENTIAL] == 1 and found[header.WHOLE] == 1
    assert found[header.ORIENTATION] == 1


def test_knows_grey_cmyk_progressive_and_truncated_files():
    image = Image.fromarray(cut(1, 20, 30))
    grey, cmyk, progressive = (
        encoded(image.convert("L")),
        encoded(image.convert("CMYK")),
        encoded(image, progressive=True),
    )
    found = headers([grey, cmyk, progressive, grey[:-2]])
    assert found[:, header.COMPONENTS].tolist() == [1, 4, 3, 1]
    assert found[:, header.SEQUENTIAL].tolist() == [1, 1, 0, 1]
    assert found[:, header.WHOLE].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reads_the_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a description that stands before it"
    big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    found = headers([encoded(cut(0, 8, 8), exif=exif), encoded(cut(0, 8, 8), exif=big)])
    assert found[:, header.ORIENTATION].tolist() == [orientation, orientation]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 700), st.integers(0, 699), st.integers(0, 255))
def test_damaged_and_cut_headers_read_nothing_outside_the_file(stop, at, byte):
    data = bytearray(encoded(cut(0, 16, 16), exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"))
    data[min(at, len(data) - 1)] = byte
    (found,) = headers([bytes(data[:stop])])
    assert found[header.IS_JPEG] in (0, 1) and 1 <= found[header.ORIENTATION] <= 8


def test_other_files_are_no_jpeg():
    assert headers([b"", b"\xff", b"\xff\xd8", encoded(cut(0, 8, 8), "PNG")])[:, header.IS_JPEG].tolist() == [
        0,
        0,
        0,
        0,
    ]
