"""White space of text columns (Arrow: offsets into one buffer of UTF-8 bytes).

White space is what Python's `str.isspace` and `\\s` call so: U+0009 to U+000D, U+001C to U+0020, U+0085, U+00A0, U+1680, U+2000
to U+200A, U+2028, U+2029, U+202F, U+205F and U+3000. Letters: N rows, B bytes.
"""

import numpy as np
from numba import njit, types

_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_BLOCK = 32
"""Bytes looked at together: a vector register. Most text between two odd places is longer."""


@njit(inline="always")
def _odd(byte, then):
    """Whether white space other than a single space may begin at `byte`; `then` is the byte after it."""
    return (
        (byte < np.uint8(0x20))
        | ((byte == np.uint8(0x20)) & (then == np.uint8(0x20)))
        | ((byte == np.uint8(0xC2)) & ((then == np.uint8(0x85)) | (then == np.uint8(0xA0))))
        | ((byte == np.uint8(0xE1)) & (then == np.uint8(0x9A)))
        | ((byte == np.uint8(0xE2)) & ((then == np.uint8(0x80)) | (then == np.uint8(0x81))))
        | ((byte == np.uint8(0xE3)) & (then == np.uint8(0x80)))
    )


@njit(inline="always")
def _width(byte_B, at, stop):
    """Bytes of the white space character at `at`; 0 where there is none."""
    byte = byte_B[at]
    if byte <= 0x20:
        return 1 if byte >= 0x1C or 0x09 <= byte <= 0x0D else 0
    if byte < 0xC2 or byte > 0xE3:
        return 0
    if byte == 0xC2:
        return 2 if at + 1 < stop and (byte_B[at + 1] == 0x85 or byte_B[at + 1] == 0xA0) else 0
    if byte < 0xE1 or at + 2 >= stop:
        return 0
    then, last = byte_B[at + 1], byte_B[at + 2]
    if byte == 0xE2:
        if then == 0x80:
            return 3 if last <= 0x8A or last == 0xA8 or last == 0xA9 or last == 0xAF else 0
        return 3 if then == 0x81 and last == 0x9F else 0
    second = 0x9A if byte == 0xE1 else 0x80
    return 3 if then == second and last == 0x80 else 0


@njit(inline="always")
def _last_width(byte_B, start, stop):
    """Bytes of the white space character that ends at `stop`; 0 where there is none."""
    for size in range(1, min(3, stop - start) + 1):
        if _width(byte_B, stop - size, stop) == size:
            return size
    return 0


@njit([types.void(_OFFSETS, _BYTES, types.int64[::1], types.int64[::1])], cache=True, nogil=True)
def trimmed_into(offset_N1, byte_B, start_N, stop_N):
    """Where each text begins and ends without the white space at its ends."""
    for i in range(start_N.size):
        start, stop = offset_N1[i], offset_N1[i + 1]
        while start < stop:
            size = _width(byte_B, start, stop)
            if size == 0:
                break
            start += size
        while stop > start:
            size = _last_width(byte_B, start, stop)
            if size == 0:
                break
            stop -= size
        start_N[i], stop_N[i] = start, stop


@njit(
    [types.void(_OFFSETS, _OFFSETS, _BYTES, types.boolean, types.int64[::1], types.uint8[::1])], cache=True, nogil=True
)
def collapse_into(start_N, stop_N, byte_B, inner, offset_N1, out_B):
    """The texts from `start_N` to `stop_N` one behind another; with `inner` each run of white space within is one space.

    A text begins with no white space. `out_B` has room for all the bytes of the texts.
    """
    to = 0
    offset_N1[0] = 0
    for i in range(start_N.size):
        at, stop = start_N[i], stop_N[i]
        while inner and at < stop:
            if at + _BLOCK < stop:
                # views, since an index that could be negative would be looked at for each byte
                here, into = byte_B[at : at + _BLOCK + 1], out_B[to : to + _BLOCK]
                odd = False
                for k in range(_BLOCK):
                    odd |= _odd(here[k], here[k + 1])
                if not odd:
                    # a space at the end may be the first of a run, so it is left for the next turn
                    size = _BLOCK - 1 if here[_BLOCK - 1] == 0x20 else _BLOCK
                    for k in range(_BLOCK):
                        into[k] = here[k]
                    at += size
                    to += size
                    continue
            last = min(at + _BLOCK, stop)
            while at < last:
                size = _width(byte_B, at, stop)
                if size == 0:
                    out_B[to] = byte_B[at]
                    at += 1
                    to += 1
                    continue
                begin = at
                while size > 0:
                    at += size
                    size = _width(byte_B, at, stop) if at < stop else 0
                out_B[to] = 0x20
                to += 1
                if at - begin > 1 or byte_B[begin] != 0x20:
                    break  # that was the odd place
        size = stop - at
        here, into = byte_B[at:stop], out_B[to : to + size]
        for k in range(size):  # an assignment of slices would need Numba's runtime
            into[k] = here[k]
        to += size
        offset_N1[i + 1] = to
