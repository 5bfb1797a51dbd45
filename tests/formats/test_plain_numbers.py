import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.formats.plain_numbers import distinct, list_lengths, list_values, numbers, valid

KINDS = [pa.bool_(), pa.int8(), pa.uint16(), pa.int32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(given=st.data())
def test_numbers_and_validity_are_those_of_arrow_for_any_slice(kind, given):
    value = st.booleans() if kind == pa.bool_() else st.integers(0, 100)
    if pa.types.is_floating(kind):
        value = value.map(float)
    drawn = given.draw(st.lists(st.none() | value, max_size=40))
    first = given.draw(st.integers(0, len(drawn)))
    column = pa.array(drawn, kind).slice(first, given.draw(st.integers(0, len(drawn) - first)))
    present = valid(column)
    assert present.tolist() == [one is not None for one in column.to_pylist()]
    found = numbers(column)
    assert found[present].tolist() == [one for one in column.to_pylist() if one is not None]
    if pa.types.is_floating(kind):
        assert np.isnan(found[~present]).all()


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int16()), pa.list_(pa.int64(), 2)], ids=str)
@given(given=st.data())
def test_lists_have_the_lengths_and_the_values_of_arrow_for_any_slice(kind, given):
    least, most = (2, 2) if pa.types.is_fixed_size_list(kind) else (0, 4)
    one = st.lists(st.integers(0, 100), min_size=least, max_size=most)
    drawn = given.draw(st.lists(st.none() | one if given.draw(st.booleans()) else one, max_size=20))
    first = given.draw(st.integers(0, len(drawn)))
    column = pa.array(drawn, kind).slice(first, given.draw(st.integers(0, len(drawn) - first)))
    assert list_lengths(column).tolist() == [len(one or []) for one in column.to_pylist()]
    assert list_values(column).to_pylist() == column.flatten().to_pylist()


@given(st.lists(st.integers(-(2**62), 2**62)))
def test_distinct_values_are_those_of_a_set(values):
    assert distinct(np.array(values, np.int64)) == sorted(set(values))


@pytest.mark.parametrize("kind", [pa.date32(), pa.time32("s"), pa.timestamp("us"), pa.duration("ns")], ids=str)
def test_dates_and_times_are_the_numbers_that_they_are_stored_as(kind):
    whole = pa.int32() if kind.bit_width == 32 else pa.int64()
    column = pa.array([5, 0, 86_000], whole).cast(kind)
    assert numbers(column).tolist() == [5, 0, 86_000]


def test_a_column_without_buffers_is_all_null():
    assert np.isnan(numbers(pa.nulls(3, pa.float32()))).all()
    assert not valid(pa.nulls(3, pa.int64())).any()


def test_values_are_a_view_where_nothing_is_null():
    column = pa.array([1, 2, 3])
    assert np.shares_memory(numbers(column), np.frombuffer(column.buffers()[1], np.uint8))


def test_looking_at_numbers_does_not_import_pandas():
    made = "pa.Array.from_buffers(pa.float32(), 2, [None, pa.py_buffer(bytes(8))])"
    code = f"import sys, pyarrow as pa; from forebay.formats.plain_numbers import numbers; numbers({made}); "
    done = subprocess.run([sys.executable, "-c", code + "sys.exit('pandas' in sys.modules)"], check=False, timeout=60)
    assert done.returncode == 0
