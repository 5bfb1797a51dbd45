"""The permutation's kernel: what the engine's order is made of, against the network written out in Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forebay.engine.order import mix_key, permute


@given(n=st.integers(2, 5000), key=st.integers(0, 2**64 - 1))
def test_every_position_goes_somewhere_else(n: int, key: int) -> None:
    found = permute(n, key, np.arange(n))
    assert np.array_equal(np.sort(found), np.arange(n))


@given(n=st.integers(2, 2**62), key=st.integers(0, 2**64 - 1), data=st.data())
def test_large_ranges_are_kept_and_positions_stay_apart(n: int, key: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=50, unique=True))
    found = permute(n, key, np.array(positions))
    assert found.min() >= 0 and found.max() < n and len(set(found.tolist())) == len(positions)


def test_neighbours_and_near_keys_have_nothing_in_common() -> None:
    n = 1 << 16
    one, other = permute(n, mix_key(0, 0), np.arange(n)), permute(n, mix_key(0, 1), np.arange(n))
    for found in (np.diff(one), one - other):
        assert abs(np.abs(found).mean() / (n / 3) - 1) < 0.02  # as of two uniform numbers
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02 and abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.02
    assert (one == np.arange(n)).sum() < 10  # a permutation has one fixed point on average
