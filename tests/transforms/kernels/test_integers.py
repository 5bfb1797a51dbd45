"""Integer arithmetic beside numpy's, where doubles hold the values and where they do not."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from support.learning import apply

from forebay import transforms as T

INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-100, 100) | st.integers(-(1 << 52), 1 << 52)


@given(st.lists(INTEGERS, min_size=1, max_size=60), st.integers(1, 1 << 40))
def test_modulo_of_any_integers_is_numpys(values, divisor):
    x = np.array(values, np.int64)
    got = apply(T.Modulo(["x"], divisor), pa.RecordBatch.from_arrays([pa.array(x)], ["x"]))
    assert np.array_equal(got["x"].to_numpy(), x % divisor)


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1, max_size=60), st.integers(1, 1 << 30))
def test_modulo_of_short_integers_is_numpys(values, divisor):
    x = np.array(values, np.int32)
    got = apply(T.Modulo(["x"], divisor), pa.RecordBatch.from_arrays([pa.array(x)], ["x"]))
    assert np.array_equal(got["x"].to_numpy(), x % divisor)
