"""Rows of many record batches, taken by address."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.engine.gather import Gatherer

STRUCT = pa.struct([("data", pa.large_binary()), ("size", pa.int32())])
SCHEMA = pa.schema([("one", STRUCT), ("label", pa.int64()), ("flag", pa.bool_())])


def batch_of(rng, n, *, nulls=False):
    data = [rng.bytes(int(size)) for size in rng.integers(0, 40, n)]
    sizes = [None if nulls and at % 3 == 1 else len(one) for at, one in enumerate(data)]
    one = pa.StructArray.from_arrays(
        [pa.array(data, pa.large_binary()), pa.array(sizes, pa.int32())], fields=list(STRUCT)
    )
    return pa.record_batch([one, pa.array(rng.integers(0, 9, n)), pa.array(rng.random(n) < 0.5)], schema=SCHEMA)


def gathered(batches, seed):
    gatherer, rng = Gatherer(SCHEMA), np.random.default_rng(seed)
    slots = [gatherer.add(one) for one in batches]
    chosen = rng.permutation([(slot, row) for slot, one in zip(slots, batches, strict=True) for row in range(len(one))])
    return gatherer, chosen[:, 0].copy(), chosen[:, 1].copy()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(0, 99), st.booleans(), st.integers(0, 3))
def test_rows_of_structs_equal_what_arrow_takes(sizes, seed, nulls, cut):
    rng = np.random.default_rng(seed)
    batches = [batch_of(rng, size + cut, nulls=nulls).slice(cut) for size in sizes]
    gatherer, slots, rows = gathered(batches, seed)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    expected = pa.Table.from_batches(batches).take(pa.array(starts[slots] + rows)).combine_chunks()
    made = gatherer.take(slots, rows)
    made.validate(full=True)
    assert pa.Table.from_batches([made]).equals(expected)


def test_only_the_columns_asked_for_are_taken_in_the_schemas_order():
    batch = batch_of(np.random.default_rng(0), 5)
    gatherer, slots, rows = gathered([batch], 0)
    made = gatherer.take(slots, rows, {"flag", "label"})
    assert made.schema.names == ["label", "flag"]
    assert gatherer.take(slots, rows, set()).num_rows == 5


def test_rows_of_structs_are_located_where_their_bytes_lie():
    rng = np.random.default_rng(1)
    batches = [batch_of(rng, 9).slice(2), batch_of(rng, 4)]
    gatherer, slots, rows = gathered(batches, 1)
    found = gatherer.located("one", slots, rows)
    wanted = [batches[slot]["one"][row].as_py() for slot, row in zip(slots.tolist(), rows.tolist(), strict=True)]
    memory = [
        pa.foreign_buffer(int(at), int(n)).to_pybytes() for at, n in zip(found.addresses, found.lengths, strict=True)
    ]
    assert memory == [one["data"] for one in wanted]
    assert found.values["size"].tolist() == [one["size"] for one in wanted]


@pytest.mark.parametrize("which", ["null struct", "null inside", "list", "null text"])
def test_rows_that_may_be_null_and_lists_that_vary_are_not_located(which):
    rng = np.random.default_rng(2)
    if which in ("list", "null text"):
        plain = pa.record_batch({"x": [[1], [2, 3]] if which == "list" else ["a", None]})
        gatherer = Gatherer(plain.schema)
        gatherer.add(plain)
        assert gatherer.located("x", np.zeros(2, np.int64), np.arange(2)) is None
        return
    batch = batch_of(rng, 6, nulls=which == "null inside")
    if which == "null struct":
        one = batch["one"]
        children = [one.field(0), one.field(1)]
        mask = pa.array([True, *[False] * 5])
        nulled = pa.StructArray.from_arrays(children, fields=list(STRUCT), mask=mask)
        batch = pa.record_batch([nulled, batch["label"], batch["flag"]], schema=SCHEMA)
    gatherer, slots, rows = gathered([batch], 2)
    assert gatherer.located("one", slots, rows) is None
    assert gatherer.take(slots, rows)["one"].to_pylist() == batch["one"].take(pa.array(rows)).to_pylist()
