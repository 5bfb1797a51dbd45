"""What a batch of JPEG files says of itself, read from their markers without decoding anything.

Markers are those of ITU-T T.81 (JPEG), annex B; the orientation is tag 0x0112 of the first directory of the Exif data in
APP1 (CIPA DC-008, 4.6.4).
"""

import numpy as np
from numba import njit, types

IS_JPEG, HEIGHT, WIDTH, COMPONENTS, FRAME, SEQUENTIAL, UNIT_ROWS, ORIENTATION, WHOLE = range(9)
"""Columns of the result: 1 if the file is well formed up to its first scan and holds a frame of 8 bits; rows, columns of pixels;
colour components; place of the frame's height in the file; 1 where a decoder can stop early (baseline or extended
sequential, Huffman coded); rows of pixels that one row of coded units covers; Exif orientation, 1 if none; 1 where the
file ends with the end marker."""
FIELDS = 9

_RO8 = types.Array(types.uint8, 1, "C", readonly=True)


@njit(error_model="numpy")
def _number(data, at, count, big):
    value = np.int64(0)
    for i in range(count):
        byte = np.int64(data[at + i if big else at + count - 1 - i])
        value = value << 8 | byte
    return value


@njit(error_model="numpy")
def _orientation(data, at, stop):
    """Exif orientation from the bytes of an APP1 segment, 1 where there is none or it makes no sense."""
    if stop - at < 14 or _number(data, at, 4, True) != 0x45786966:  # "Exif"
        return 1
    base = at + 6
    big = data[base] == 0x4D
    directory = base + _number(data, base + 4, 4, big)
    if directory < base or directory + 2 > stop:
        return 1
    for entry in range(_number(data, directory, 2, big)):
        place = directory + 2 + entry * 12
        if place + 12 > stop:
            return 1
        if _number(data, place, 2, big) == 0x0112:
            value = _number(data, place + 8, 2, big)
            return value if 1 <= value <= 8 else 1
    return 1


@njit(error_model="numpy")
def _file(data, begin, end, out):
    if end - begin < 4 or data[begin] != 0xFF or data[begin + 1] != 0xD8:
        return
    out[WHOLE] = data[end - 2] == 0xFF and data[end - 1] == 0xD9
    at = begin + 2
    while at + 4 <= end:
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
            continue
        length = _number(data, at + 2, 2, True)
        stop = at + 2 + length
        if length < 2 or stop > end:
            return
        if marker == 0xDA:
            # all segments up to the first scan follow one another without a gap
            out[IS_JPEG] = out[HEIGHT] > 0 and out[WIDTH] > 0
            return
        if marker == 0xE1 and out[ORIENTATION] == 1:
            out[ORIENTATION] = _orientation(data, at + 4, stop)
        if 0xC0 <= marker <= 0xCF and marker != 0xC4 and marker != 0xC8 and marker != 0xCC:
            if length < 11:
                return
            components = np.int64(data[at + 9])
            if data[at + 4] != 8 or stop < at + 10 + 3 * components:
                return
            out[HEIGHT], out[WIDTH] = _number(data, at + 5, 2, True), _number(data, at + 7, 2, True)
            out[COMPONENTS], out[FRAME] = components, at + 5 - begin
            out[SEQUENTIAL] = marker == 0xC0 or marker == 0xC1
            tallest = np.int64(1)
            for i in range(components):
                tallest = max(tallest, np.int64(data[at + 11 + 3 * i]) & 15)
            out[UNIT_ROWS] = 8 * tallest
        at = stop


_SIGNATURE = types.void(
    _RO8, types.Array(types.int64, 2, "C", readonly=True), types.int64[:, ::1]
)  # fmt: skip


@njit([_SIGNATURE], cache=True, nogil=True, error_model="numpy")
def jpeg_headers_into(data, spans, out):
    """Read the headers of N files.

    Args:
        data: the files' bytes.
        spans: (N, 2) begin and end of each in data.
        out: (N, FIELDS) see above; IS_JPEG is 0 where the rest says nothing.
    """
    for i in range(len(spans)):
        out[i] = 0
        out[i, ORIENTATION] = 1
        _file(data, spans[i, 0], spans[i, 1], out[i])
