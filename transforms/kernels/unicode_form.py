"""Whether texts (Arrow: offsets into one buffer of UTF-8 bytes) are in a normal form of Unicode, and the plain step to NFC.

A class is what `class_C` says of a code point: 0 for a starter that stays as it is whatever stands beside it, 1 to 254 for a mark
of that combining class that stays too, 255 for what may change, or is unknown. Code points from C on are of class 255. The quick
check is that of Unicode Standard Annex 15, section 9. Letters: N rows, B bytes, C code points, P pairs.
"""

import numpy as np
from numba import njit, types

_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PAIRS = types.Array(types.int64, 1, "C", readonly=True)
_BLOCK = 32
_CHANGES = np.uint8(255)


@njit(inline="always")
def _code_point(byte_B, at, stop):
    """(code point, bytes) of the character at `at`, whose first byte is above 0x7F; (-1, 1) where it is not valid."""
    byte = np.int64(byte_B[at])
    size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if byte < 0xC2 or byte > 0xF4 or at + size > stop:
        return -1, 1
    found = byte & (0x7F >> size)
    for k in range(1, size):
        then = np.int64(byte_B[at + k])
        if then & 0xC0 != 0x80:
            return -1, 1
        found = (found << 6) | (then & 0x3F)
    if (size == 3 and found < 0x800) or (size == 4 and found < 0x10000):
        return -1, 1
    return found, size


@njit(inline="always")
def _class(class_C, point):
    return class_C[point] if 0 <= point < class_C.size else _CHANGES


@njit(inline="always")
def _all_below(byte_B, at, stop, first):
    """Whether a whole block from `at` on is below `first`."""
    if at + _BLOCK > stop:
        return False
    here = byte_B[at : at + _BLOCK]  # a view, since an index that could be negative would be looked at for each byte
    high = False
    for k in range(_BLOCK):
        high |= here[k] >= first
    return not high


@njit([types.void(_OFFSETS, _BYTES, _BYTES, types.uint8, types.uint8[::1])], cache=True, nogil=True)
def check_into(offset_N1, byte_B, class_C, first, may_change_N):
    """1 for each text that may not be in the form, 0 for those that are.

    Bytes below `first` begin, or go on with, code points of class 0, so that runs of them are passed over.
    """
    for i in range(may_change_N.size):
        at, stop = offset_N1[i], offset_N1[i + 1]
        before = 0
        may_change_N[i] = 0
        while at < stop:
            if _all_below(byte_B, at, stop, first):
                at += _BLOCK
                before = 0
                continue
            if byte_B[at] < first:
                at += 1
                before = 0
                continue
            point, size = _code_point(byte_B, at, stop)
            found = _class(class_C, point)
            if found == _CHANGES or (found != 0 and found < before):
                may_change_N[i] = 1
                break
            before = found
            at += size


@njit(inline="always")
def _find(pair_P, key):
    """Place of `key` in the sorted pairs; -1 if it is not there."""
    low, high = 0, pair_P.size
    while low < high:
        middle = (low + high) // 2
        if pair_P[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < pair_P.size and pair_P[low] == key else -1


@njit(inline="always")
def _put(out_B, to, point):
    """Write the UTF-8 bytes of a code point; how many."""
    size = 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4
    if size == 1:
        out_B[to] = point
        return 1
    out_B[to] = (0xF00 >> size) & 0xFF | (point >> (6 * (size - 1)))
    for k in range(1, size):
        out_B[to + k] = 0x80 | ((point >> (6 * (size - 1 - k))) & 0x3F)
    return size


@njit(inline="always")
def _pair(byte_B, begin, at, point, pair_P):
    """(place of the pair, where its starter begins) for the character that ends at `at` and the mark `point`; -1: no pair."""
    starter = at - 1
    while starter > begin and byte_B[starter] & 0xC0 == 0x80:
        starter -= 1
    if starter < begin or point < 0:
        return -1, 0
    base = np.int64(byte_B[starter])
    if base > 0x7F:
        base, _ = _code_point(byte_B, starter, at)
    return (_find(pair_P, (base << 21) | point) if base >= 0 else -1), starter


@njit(inline="always")
def _compose(span, byte_B, class_C, first, pairs, out_B):
    """Compose the text at `span` = (begin, stop, to); where it ends in `out_B`, or -1 if it takes more than pairs."""
    begin, stop, to = span
    at, after_mark = begin, False
    while at < stop:
        if _all_below(byte_B, at, stop, first):
            here, into = byte_B[at : at + _BLOCK], out_B[to : to + _BLOCK]
            for k in range(_BLOCK):
                into[k] = here[k]
            at += _BLOCK
            to += _BLOCK
            after_mark = False
            continue
        point, size = np.int64(0), 1
        if byte_B[at] >= first:
            point, size = _code_point(byte_B, at, stop)
        if _class(class_C, point) == 0:
            for k in range(size):
                out_B[to + k] = byte_B[at + k]
            at += size
            to += size
            after_mark = False
            continue
        pair, starter = _pair(byte_B, begin, at, point, pairs[0])
        if pair < 0 or after_mark:
            return -1
        to -= at - starter
        to += _put(out_B, to, pairs[1][pair])
        at += size
        after_mark = True
    return to


@njit(
    [
        types.void(
            _OFFSETS, _BYTES, _BYTES, types.uint8, _PAIRS, _PAIRS, types.uint8[::1], types.int64[::1], types.uint8[::1]
        )
    ],
    cache=True,
    nogil=True,
)
def compose_into(offset_N1, byte_B, class_C, first, pair_P, composed_P, may_change_N, to_N1, out_B):
    """The texts one behind another, those with `may_change_N` composed where a starter and one mark make one code point.

    `pair_P` are `starter << 21 | mark`, ascending, `composed_P` what they make. That is all of NFC where the mark stands between
    two code points of class 0, or at the end: neither joins another, so nothing beside the pair has a say. A text with anything
    else keeps its mark in `may_change_N`, for the library, and is left out; the others lose it. `out_B` has room for all bytes.
    """
    to = 0
    to_N1[0] = 0
    for i in range(may_change_N.size):
        begin, stop = offset_N1[i], offset_N1[i + 1]
        if may_change_N[i] == 0:
            size = stop - begin
            here, into = byte_B[begin:stop], out_B[to : to + size]
            for k in range(size):  # an assignment of slices would need Numba's runtime
                into[k] = here[k]
            to += size
        else:
            end = _compose((begin, stop, to), byte_B, class_C, first, (pair_P, composed_P), out_B)
            if end >= 0:
                to, may_change_N[i] = end, 0
        to_N1[i + 1] = to
