"""Rows of a raw record batch that are read by their bytes equal those that Arrow reads."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.formats.ipc_rows import BatchPlaces, batch_places, fixed_bits, supposed_places
from forebay.formats.remote_layout import arrow_blocks, arrow_ranges

ROWS = 83
TENSOR = pa.fixed_shape_tensor(pa.int32(), (2, 3))


def batch() -> pa.RecordBatch:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 100, ROWS)
    nulls = pa.array([None if one % 3 == 0 else int(one) for one in numbers], pa.int16())
    tensor = pa.FixedSizeListArray.from_arrays(pa.array(rng.integers(0, 9, 6 * ROWS), pa.int32()), 6)
    return pa.record_batch(
        {
            "text": [str(one) for one in numbers],
            "list": [[int(one)] * (one % 3) for one in numbers],
            "struct": [{"a": int(one), "b": str(one)} for one in numbers],
            "word": pa.array([str(one % 5) for one in numbers]).dictionary_encode(),
            "nulls": nulls,
            "flag": pa.array([None if one % 7 == 0 else bool(one % 2) for one in numbers]),
            "tensor": pa.ExtensionArray.from_storage(TENSOR, tensor),
            "when": pa.array(numbers, pa.timestamp("us")),
            "fixed": pa.array([bytes([one % 250] * 5) for one in numbers], pa.binary(5)),
            "x": pa.array(rng.random(ROWS)),
        }
    )


WIDE = ["nulls", "flag", "tensor", "when", "fixed", "x"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = tmp_path_factory.mktemp("ipc") / "x.arrow"
    with pa.ipc.new_file(str(found), batch().schema) as writer:
        writer.write_batch(batch().slice(0, 5))
        writer.write_batch(batch())
    return str(found)


def places_in(path: str, names: list[str]) -> BatchPlaces | None:
    file = pa.OSFile(path)
    start = arrow_ranges(file, path)[-1][0]
    return batch_places(file, start, path, schema=pa.ipc.open_file(path).schema, names=names)


@given(
    first=st.integers(0, 10).map(lambda one: 8 * one), count=st.integers(0, ROWS), names=st.sets(st.sampled_from(WIDE))
)
def test_any_rows_of_any_columns_of_a_fixed_width(path: str, first: int, count: int, names: set[str]) -> None:
    places = places_in(path, sorted(names))
    assert places is not None and places.rows == ROWS
    stop = min(first + count, ROWS)
    if stop <= first or not names:
        return
    found = places.read(pa.OSFile(path), first, stop)
    found.validate(full=True)
    wanted = batch().slice(first, stop - first).select(found.schema.names)
    assert set(found.schema.names) == names and found.equals(wanted)


def test_the_ranges_hold_what_is_read_and_little_more(path: str) -> None:
    places = places_in(path, ["tensor", "nulls"])
    assert places is not None
    ranges = places.ranges(8, 24)
    assert sorted(stop - start for start, stop in ranges) == [2, 16 * 2, 16 * 24]


@pytest.mark.parametrize("name", ["text", "list", "struct", "word"])
def test_columns_of_another_kind_have_no_places(path: str, name: str) -> None:
    assert places_in(path, [name]) is None
    assert fixed_bits(batch().schema.field(name).type) == 0


def test_a_compressed_batch_has_no_places(tmp_path: Path) -> None:
    path = str(tmp_path / "x.arrow")
    with pa.ipc.new_file(path, batch().schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch())
    assert places_in(path, ["x"]) is None


def test_nulls_within_lists_are_left_to_arrow(tmp_path: Path) -> None:
    path = str(tmp_path / "x.arrow")
    one = pa.record_batch({"pair": pa.array([[1, None], [3, 4]], pa.list_(pa.int8(), 2))})
    with pa.ipc.new_file(path, one.schema) as writer:
        writer.write_batch(one)
    assert places_in(path, ["pair"]) is None


def supposed_in(path: str, rows: int, names: list[str]) -> BatchPlaces | None:
    block = arrow_blocks(pa.OSFile(path), path)[-1]
    return supposed_places(block, rows, schema=pa.ipc.open_file(path).schema, names=names)


@given(rows=st.integers(0, 200), names=st.sets(st.sampled_from(["tensor", "when", "fixed", "x", "bits"]), min_size=1))
def test_places_are_supposed_as_the_header_tells_them(
    tmp_path_factory: pytest.TempPathFactory, rows: int, names: set[str]
) -> None:
    whole = batch().append_column("bits", pa.array([at % 3 == 0 for at in range(ROWS)]))
    one = pa.concat_batches([whole] * 3).slice(0, rows).select([name for name in whole.schema.names if name in names])
    path = str(tmp_path_factory.mktemp("supposed") / "x.arrow")
    with pa.ipc.new_file(path, one.schema) as writer:
        writer.write_batch(pa.concat_batches([one]))
    assert supposed_in(path, rows, one.schema.names) == places_in(path, one.schema.names)
    assert supposed_in(path, rows + 100, one.schema.names) is None


@pytest.mark.parametrize("names", [["x", "nulls"], ["x", "text"]])
def test_nothing_is_supposed_where_rows_are_null_or_vary_in_length(tmp_path: Path, names: list[str]) -> None:
    path = str(tmp_path / "x.arrow")
    with pa.ipc.new_file(path, batch().select(names).schema) as writer:
        writer.write_batch(batch().select(names))
    assert supposed_in(path, ROWS, ["x"]) is None
