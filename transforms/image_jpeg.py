"""JPEG through libjpeg-turbo (`simplejpeg`): whole, reduced, or only as far down as is needed.

Three things keep the work small. The header is read without the decoder. Where the crop is at least twice as large as
what it is resized to, the decoder reduces by 2, 4 or 8 while it decodes. And decoding ends at the last row that is
needed: the copy of the file that the decoder gets says a smaller height in its frame header, so that it stops there by
itself and finds the rest of the file superfluous; the rows above are the same to the last bit.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.image_pixels import Pixels
from forebay.transforms.kernels import image_headers as header

_BENIGN = re.compile(r"extraneous bytes before marker 0xd9")
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class UndecodableError(Exception):
    """The bytes are no image; the message is the reason, the same for all files that fail alike."""


def decode_jpeg(
    data: NDArray[np.uint8], fields: NDArray[np.int64], *, grey: bool, factor: int, rows: int, room: NDArray[np.uint8]
) -> Pixels:
    """Decode one file.

    Args:
        data: its bytes.
        fields: what `jpeg_headers_into` says of it.
        grey: luma only, 1 byte a pixel, instead of red, green and blue.
        factor: reduction, 1, 2, 4 or 8.
        rows: rows that are needed, in pixels of the image.
        room: bytes for the decoded pixels; they stay there until it is used again.

    Raises:
        UndecodableError: damage in the part that is decoded.
    """
    height, width = int(fields[header.HEIGHT]), int(fields[header.WIDTH])
    unit = int(fields[header.UNIT_ROWS])
    # one more row of units: smooth chroma at the last row that is needed looks at the row behind it
    enough = -(-rows // unit) * unit + unit
    if enough < height and fields[header.SEQUENTIAL] and fields[header.WHOLE]:
        data, height = data.copy(), enough
        at = int(fields[header.FRAME])
        data[at], data[at + 1] = height >> 8, height & 255
    shown, across, depth = -(-height // factor), -(-width // factor), 1 if grey else 3
    into = room[: shown * across * depth]
    _decode(data, into, grey=grey, factor=factor, shape=(shown, across))
    return Pixels(into, 0, across * depth, depth, 1, shown, across, factor)


def _decode(
    data: NDArray[np.uint8], into: NDArray[np.uint8], *, grey: bool, factor: int, shape: tuple[int, int]
) -> None:
    decode = library().decode_jpeg
    options: dict[str, Any] = {"colorspace": "GRAY" if grey else "RGB", "buffer": into}
    if factor > 1:
        options |= {"min_height": shape[0], "min_width": shape[1], "min_factor": factor}
    try:
        found = decode(data, **options).shape
    except ValueError as error:
        text = str(error)
        if _BENIGN.search(text):
            # said after the last row, and only the first warning is said: all rows are there and whole
            return
        if "extraneous bytes before marker" not in text:
            raise UndecodableError(f"JPEG: {_NUMBERS.sub('…', text).strip().rstrip('.')}") from error
        found = decode(data, strict=False, **options).shape  # superfluous bytes between segments harm nothing
    if tuple(found[:2]) != shape:
        raise UndecodableError("JPEG: the decoder found another size than the header says")


def library() -> Any:
    """simplejpeg.

    Raises:
        SpecError: it is not installed.
    """
    try:
        import simplejpeg
    except ImportError as error:
        raise SpecError("decoding JPEG needs simplejpeg; pip install 'forebay[image]'") from error
    return simplejpeg
