"""Gathered rows equal those that Arrow takes, for every type, with nulls, slices, and many record batches."""

import ctypes
import threading
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.engine.gather import Gatherer, copy_rows

TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "uint16": pa.uint16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float16": pa.float16(),
    "float64": pa.float64(),
    "day": pa.date32(),
    "time": pa.timestamp("us"),
    "decimal": pa.decimal128(20, 3),
    "fixed": pa.binary(5),
    "text": pa.string(),
    "long text": pa.large_string(),
    "bytes": pa.binary(),
    "long bytes": pa.large_binary(),
    "list": pa.list_(pa.int16()),
    "long list": pa.large_list(pa.float32()),
    "list of fixed": pa.list_(pa.float32(), 3),
    "tensor": pa.fixed_shape_tensor(pa.float32(), (2, 2)),
    "list of text": pa.list_(pa.string()),
    "struct": pa.struct({"pixels": pa.large_binary(), "height": pa.int32()}),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
}


def value(name: str, rng: np.random.Generator) -> Any:
    """One value of a type, in plain Python."""
    n = int(rng.integers(-100, 100))
    if name == "bool":
        return n > 0
    if name == "uint16":
        return abs(n)
    if name.startswith("float"):
        return n / 4
    if name == "day" or name == "time":
        return abs(n)
    if name == "decimal":
        return f"{n}.125"
    if name == "fixed":
        return bytes([abs(n)] * 5)
    if "text" in name and not name.startswith("list"):
        return "é" * (n % 7) + str(n)
    if "bytes" in name:
        return bytes([abs(n)] * (n % 9))
    if name in ("list", "long list"):
        return [n + at for at in range(n % 6)]
    if name == "list of fixed":
        return [n / 2, n, 2 * n]
    if name == "list of text":
        return [str(n)] * (n % 4)
    if name == "struct":
        return {"pixels": bytes([abs(n)] * (n % 9)), "height": n}
    if name == "dictionary":
        return str(n % 5)
    return n


def array(name: str, rows: int, *, nulls: bool, seed: int) -> pa.Array:
    rng = np.random.default_rng(seed)
    if name == "tensor":
        storage = pa.array(
            [None if nulls and rng.random() < 0.3 else rng.random(4).astype(np.float32) for _ in range(rows)],
            pa.list_(pa.float32(), 4),
        )
        return pa.ExtensionArray.from_storage(TYPES[name], storage)
    values = [None if nulls and rng.random() < 0.3 else value(name, rng) for _ in range(rows)]
    if name == "decimal":
        return pa.array(values, pa.string()).cast(TYPES[name])
    if name == "dictionary":
        return pa.DictionaryArray.from_arrays(
            pa.array([None if one is None else int(one) for one in values], pa.int8()), [str(one) for one in range(5)]
        )
    if name == "float16":
        return pa.array([None if one is None else np.float16(one) for one in values], TYPES[name])
    return pa.array(values, TYPES[name])


@pytest.mark.parametrize("name", TYPES)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9), st.booleans()), min_size=1, max_size=20),
    wanted=st.lists(st.integers(0, 10**6), max_size=40),
)
@settings(max_examples=40)
def test_rows_equal_those_that_arrow_takes(name: str, sizes: list[tuple[int, int, bool]], wanted: list[int]) -> None:
    batches = []
    for seed, (rows, cut, nulls) in enumerate(sizes):  # slices begin in the middle of bytes and of bitmaps
        column = array(name, rows + cut, nulls=nulls, seed=seed).slice(cut)
        batches.append(pa.record_batch({"x": column, "n": pa.array(np.arange(rows) + 1000 * seed)}))
    gatherer = Gatherer(batches[0].schema)
    numbers = [gatherer.add(batch) for batch in batches]
    assert numbers == list(range(len(batches)))
    slots = np.array([one % len(batches) for one in wanted], np.int64)
    rows = np.array([one // 31 % batches[slot].num_rows for one, slot in zip(wanted, slots, strict=True)], np.int64)
    found = gatherer.take(slots, rows)
    found.validate(full=True)
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    whole = pa.concat_arrays([batch.column("x") for batch in batches])
    expected = whole.take(pa.array(starts[slots] + rows))
    assert found.schema == batches[0].schema and found.num_rows == len(wanted)
    assert found.column("x").to_pylist() == expected.to_pylist()
    assert found.column("x").null_count == expected.null_count
    assert found.column("n").to_pylist() == (1000 * slots + rows).tolist()


def test_the_result_owns_its_memory() -> None:
    gatherer = Gatherer(pa.schema({"x": pa.string()}))
    gatherer.add(pa.record_batch({"x": ["a", "bc"]}))
    found = gatherer.take(np.array([0, 0]), np.array([1, 0]))
    del gatherer
    assert found.column("x").to_pylist() == ["bc", "a"]


def test_lists_with_single_nulls_in_a_later_batch_are_taken_by_arrow() -> None:
    gatherer = Gatherer(pa.schema({"x": pa.list_(pa.int64())}))
    gatherer.add(pa.record_batch({"x": [[1], [2, 3]]}))
    gatherer.add(pa.record_batch({"x": [[None, 4], None]}))
    found = gatherer.take(np.array([1, 0, 1]), np.array([0, 1, 1]))
    assert found.column("x").to_pylist() == [[None, 4], [2, 3], None]


def test_no_columns_still_have_rows() -> None:
    gatherer = Gatherer(pa.schema([]))
    gatherer.add(pa.record_batch({"x": [1, 2, 3]}).select([]))
    assert gatherer.take(np.array([0, 0]), np.array([2, 0])).num_rows == 2


def test_addresses_are_of_rows_of_a_fixed_width_that_are_never_null() -> None:
    schema = pa.schema({"x": pa.float32(), "t": pa.list_(pa.float32(), 2), "s": pa.string(), "b": pa.bool_()})
    gatherer = Gatherer(schema)
    gatherer.add(
        pa.record_batch(
            {"x": [0.0, 1, 2], "t": [[0.0, 1], [2, 3], [4, 5]], "s": ["a", "", "ccc"], "b": [True] * 3}, schema=schema
        ).slice(1)
    )
    gatherer.add(pa.record_batch({"x": [9.0], "t": [[8.0, 7]], "s": ["long"], "b": [False]}, schema=schema))
    slots, rows = np.array([1, 0, 0]), np.array([0, 1, 0])

    def floats(column: str, count: int) -> list[list[float]]:
        found = gatherer.located(column, slots, rows)
        assert found is not None
        return [list((ctypes.c_float * count).from_address(int(one))) for one in found.addresses]

    assert floats("x", 1) == [[9.0], [2.0], [1.0]] and floats("t", 2) == [[8.0, 7.0], [4.0, 5.0], [2.0, 3.0]]
    assert gatherer.located("b", slots, rows) is None
    texts = gatherer.located("s", slots, rows)
    assert texts is not None and texts.lengths is not None
    spans = zip(texts.addresses.tolist(), texts.lengths.tolist(), strict=True)
    assert [ctypes.string_at(where, length) for where, length in spans] == [b"long", b"ccc", b""]
    gatherer.add(pa.record_batch({"x": [None], "t": [[0.0, 0]], "s": [""], "b": [True]}, schema=schema))
    assert gatherer.located("x", slots, rows) is None and gatherer.located("t", slots, rows) is not None


def test_threads_take_while_one_adds() -> None:
    gatherer, wrong = Gatherer(pa.schema({"x": pa.int64(), "s": pa.string()})), []
    gatherer.add(pa.record_batch({"x": np.arange(50), "s": [str(one) for one in range(50)]}))
    done = threading.Event()

    def take() -> None:
        rng = np.random.default_rng(0)
        while not done.is_set():
            count = len(gatherer.batches)
            slots, rows = rng.integers(0, count, 64), rng.integers(0, 50, 64)
            found = gatherer.take(slots, rows)
            if found.column("x").to_pylist() != (50 * slots + rows).tolist():
                wrong.append(slots)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 200):  # the table grows several times
        gatherer.add(pa.record_batch({"x": np.arange(50) + 50 * number, "s": ["y"] * 50}))
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", ["int32", "float16", "float64", "time", "list of fixed", "tensor"])
def test_rows_written_straight_to_an_array_equal_those_that_are_taken(name: str) -> None:
    rng = np.random.default_rng(0)
    plain = {"int32": pa.int32(), "float16": pa.float16(), "float64": pa.float64(), "time": pa.int64()}
    values = rng.integers(0, 100, (2, 50, 4 if name == "tensor" else 3 if name == "list of fixed" else 1))
    batches = []
    for part in values:
        if name in plain:
            column = pa.array(part[:, 0].astype(plain[name].to_pandas_dtype()), plain[name]).cast(TYPES[name])
        else:
            flat = pa.array(part.reshape(-1).astype(np.float32))
            column = pa.FixedSizeListArray.from_arrays(flat, part.shape[1])
            if name == "tensor":
                column = pa.ExtensionArray.from_storage(TYPES[name], column)
        batches.append(pa.record_batch({"x": column.slice(3), "text": pa.array(["t"] * 47)}))
    gatherer = Gatherer(batches[0].schema)
    for one in batches:
        gatherer.add(one)
    slots, rows = rng.integers(0, 2, 31), rng.integers(0, 47, 31)
    dtype = {"float16": np.float16, "float64": np.float64, "int32": np.int32, "time": np.int64}.get(name, np.float32)
    shape = {"tensor": (2, 2), "list of fixed": (3,)}.get(name, ())
    out = np.zeros((31, *shape), dtype)
    assert copy_rows(gatherer, {"x": out}, slots=slots, rows=rows) == {"x"}
    assert np.array_equal(out, values[slots, rows + 3].astype(dtype).reshape(out.shape))


def test_columns_that_cannot_be_written_straight_are_left() -> None:
    schema = pa.schema([("null", pa.int32()), ("day", pa.date32()), ("flag", pa.bool_()), ("plain", pa.int32())])
    gatherer = Gatherer(schema)
    gatherer.add(pa.record_batch([[1, None], pa.array([1, 2], pa.date32()), [True, False], [3, 4]], schema=schema))
    out = {"null": np.zeros(2, np.int32), "day": np.zeros(2, np.int64), "flag": np.zeros(2, np.bool_)}
    wanted = {**out, "plain": np.zeros(2, np.int32), "strided": np.zeros((2, 2), np.int32)[:, 0]}
    slots, rows = np.zeros(2, np.int64), np.array([1, 0])
    assert copy_rows(gatherer, {one: wanted[one] for one in (*out, "plain")}, slots=slots, rows=rows) == {"plain"}
    assert wanted["plain"].tolist() == [4, 3]
    assert copy_rows(gatherer, {"plain": wanted["strided"]}, slots=slots, rows=rows) == frozenset()
