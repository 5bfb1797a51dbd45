"""Philox against the known answers of Random123 (kat_vectors, philox4x32 with 10 rounds)."""

import numpy as np
import pytest

from forebay.transforms.kernels.philox import words_into

KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_words_are_the_published_ones(counter, key, words):
    from forebay.transforms.kernels.philox import _four

    got = _four.py_func(*(np.uint64(c) for c in counter), *(np.uint64(k) for k in key))
    assert tuple(int(word) for word in got) == words


def test_compiled_words_are_the_published_ones():
    out = np.empty((1, 4), np.uint32)
    words_into(np.zeros(1, np.uint64), np.uint64(0), np.uint64(0), out)
    assert tuple(out[0].tolist()) == KNOWN[0][2]


def test_compiled_words_follow_the_plain_function():
    from forebay.transforms.kernels.philox import _four

    ids = np.array([0, 1, (3 << 32) + 7, 2**64 - 1], np.uint64)
    key, epoch = 0x299F31D0A4093822, 5
    out = np.empty((4, 8), np.uint32)
    words_into(ids, np.uint64(key), np.uint64(epoch), out)
    for row, one in enumerate(ids.tolist()):
        for block in range(2):
            counter = (one & 0xFFFFFFFF, one >> 32, epoch, block)
            halves = (key & 0xFFFFFFFF, key >> 32)
            want = _four.py_func(*(np.uint64(c) for c in counter), *(np.uint64(k) for k in halves))
            assert out[row, 4 * block : 4 * block + 4].tolist() == [int(word) for word in want]
