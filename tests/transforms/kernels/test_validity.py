"""Validity bitmaps unpacked to bytes, beside numpy's unpackbits."""

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.transforms.kernels.validity import unpack_into


def unpack(bits, first, n, take=None):
    mask = np.zeros((n + 16) // 8 + 1, np.uint64)
    pointer = [
        array.ctypes.data_as(ctypes.POINTER(kind)) for array, kind in ((bits, ctypes.c_uint8), (mask, ctypes.c_uint64))
    ]
    rows = None if take is None else take.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
    nulls = unpack_into.ctypes(pointer[0], first, rows, n, pointer[1], 0, 0)
    return nulls, mask.view(np.uint8)[:n] != 0


@given(st.integers(0, 40), st.integers(1, 1100), st.floats(0, 1), st.integers(0, 99))
def test_bits_in_order_from_any_first_bit(first, n, share, seed):
    wanted = np.random.default_rng(seed).random(first + n) < share
    bits = np.packbits(wanted, bitorder="little")  # ends with the last byte asked for: nothing behind it may matter
    nulls, valid = unpack(bits, first, n)
    assert (nulls == 0) == wanted[first:].all()
    if nulls:
        assert valid.tolist() == wanted[first:].tolist()


@given(st.integers(0, 20), st.lists(st.integers(0, 299), min_size=1, max_size=50), st.integers(0, 99))
def test_bits_of_chosen_rows(first, take, seed):
    wanted = np.random.default_rng(seed).random(first + 300) < 0.8
    nulls, valid = unpack(np.packbits(wanted, bitorder="little"), first, len(take), np.array(take))
    assert (nulls == 0) == wanted[first:][take].all()
    if nulls:
        assert valid.tolist() == wanted[first:][take].tolist()


@pytest.mark.parametrize("first", range(9))
@pytest.mark.parametrize("null", (0, 6, 7, 8, 13))
def test_a_single_null_is_seen_wherever_it_stands(first, null):
    wanted = np.ones(first + 14, bool)
    wanted[first + null] = False
    nulls, valid = unpack(np.packbits(wanted, bitorder="little"), first, 14)
    assert nulls and np.flatnonzero(~valid).tolist() == [null]
