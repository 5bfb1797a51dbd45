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
from forebay.transforms.compiled import kernels
from forebay.transforms.image_decode import DecodeImage
from forebay.transforms.image_pixels import Pixels

header = kernels("image_headers")

_AFTER_ALL = re.compile(r"extraneous bytes before marker 0xd9")
_AFTER_ENOUGH = re.compile(r"extraneous bytes before marker 0xd[0-79]")
"""The decoder's warning when it finds more than the frame needs: up to the end of the file or, where it stopped early,
the next restart marker. It comes after the last row, and only the first warning is told: all rows are there and whole."""
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class UndecodableError(Exception):
    """The bytes are no image; the message is the reason, the same for all files that fail alike."""


def decode_jpeg(
    data: NDArray[np.uint8],
    fields: NDArray[np.int64],
    *,
    decode: DecodeImage,
    factor: int,
    rows: int,
    room: NDArray[np.uint8],
) -> Pixels:
    """Decode one file.

    Args:
        data: its bytes.
        fields: what `jpeg_headers_into` says of it.
        decode: how; mode "L" gives luma, 1 byte a pixel, instead of red, green and blue.
        factor: reduction, 1, 2, 4 or 8.
        rows: rows that are needed, in pixels of the image.
        room: bytes for the decoded pixels; they stay there until it is used again.

    Raises:
        UndecodableError: damage in the part that is decoded.
    """
    height, width = int(fields[header.HEIGHT]), int(fields[header.WIDTH])
    unit = int(fields[header.UNIT_ROWS])
    # smooth chroma at the last row of a row of units looks at the next one, so that row must not be needed
    enough = -(-(rows + factor) // unit) * unit
    harmless = _AFTER_ALL
    if enough < height and fields[header.SEQUENTIAL] and fields[header.WHOLE]:
        harmless = _AFTER_ENOUGH
        data, height = data.copy(), enough
        at = int(fields[header.FRAME])
        data[at], data[at + 1] = height >> 8, height & 255
    shown, across, depth = -(-height // factor), -(-width // factor), decode.channels
    into = room[: shown * across * depth]
    options: dict[str, Any] = {"colorspace": "GRAY" if depth == 1 else "RGB", "buffer": into}
    if decode.fast:
        options |= {"fastdct": True, "fastupsample": True}
    if factor > 1:
        options |= {"min_height": shown, "min_width": across, "min_factor": factor}
    found = _decode(data, options, harmless)
    if found is not None and found != (shown, across):
        raise UndecodableError("JPEG: the decoder found another size than the header says")
    return Pixels(into, 0, across * depth, depth, 1, shown, across, factor)


def _decode(data: NDArray[np.uint8], options: dict[str, Any], harmless: re.Pattern[str]) -> tuple[int, int] | None:
    """Decode into the buffer of the options; gives height and width unless a harmless warning stands in their place."""
    try:
        height, width = library().decode_jpeg(data, **options).shape[:2]
    except ValueError as error:
        text = str(error)
        if harmless.search(text):
            return None
        raise UndecodableError(f"JPEG: {_NUMBERS.sub('…', text).strip().rstrip('.')}") from error
    return height, width


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
