"""One schema of several files: alike, or united as far as values allow; else a refusal that names the file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forebay.formats.errors import SchemaError, SpecError
from forebay.formats.schemas import conform, unify
from forebay.formats.source import Source, open_source


def read(source: Source, columns: list[str] | None = None) -> pa.Table:
    batches = [one for fragment in source.fragments() for one in source.read(fragment, columns=columns)]
    return pa.Table.from_batches(batches).combine_chunks()


def test_files_that_disagree_are_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [2.0]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"], "b": [2.0]}), tmp_path / "2.parquet")
    with pytest.raises(SchemaError, match=r"2\.parquet: column 'a' is string; in .*1\.parquet it is int64"):
        _ = open_source(str(tmp_path)).schema
    with pytest.raises(SchemaError, match="no type holds both"):
        _ = open_source(str(tmp_path), schema="union").schema


def test_union_fills_missing_columns_and_widens_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int32())}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": pa.array([2.5], pa.float64()), "b": [1]}), tmp_path / "2.parquet")
    with pytest.raises(SchemaError, match=r"column 'b' .*schema='union'|column 'a'"):
        _ = open_source(str(tmp_path)).schema
    assert read(open_source(str(tmp_path), schema="union")).to_pylist() == [{"a": 1.0, "b": None}, {"a": 2.5, "b": 1}]


def test_an_unknown_way_to_unify_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    with pytest.raises(SpecError, match="schema is 'loose'; expected 'strict' or 'union'"):
        open_source(str(tmp_path), schema="loose")  # type: ignore[arg-type]  # refused


def test_types_widen_in_a_union_as_far_as_values_allow() -> None:
    def union(*types: pa.DataType) -> pa.DataType:
        return unify([(str(at), pa.schema([("x", one)])) for at, one in enumerate(types)], "union").field("x").type

    assert union(pa.int8(), pa.int32()) == pa.int32()
    assert union(pa.int16(), pa.float32()) == pa.float32()
    assert union(pa.float32(), pa.float64()) == pa.float64()
    assert union(pa.null(), pa.string()) == pa.string()
    assert union(pa.string(), pa.large_string()) == pa.large_string()
    for pair in ((pa.int64(), pa.string()), (pa.bool_(), pa.int8()), (pa.list_(pa.int8()), pa.int8())):
        with pytest.raises(SchemaError, match=r"1: column 'x' is .*; in 0 it is .*, and no type holds both"):
            union(*pair)


def test_a_value_that_does_not_survive_widening_is_refused() -> None:
    batch = pa.record_batch({"x": [2**53 + 1]})
    with pytest.raises(SchemaError, match=r"t: column 'x' is int64 here and double in the data set"):
        conform(batch, pa.schema([("x", pa.float64())]), path="t")


def test_order_of_columns_and_nullability_do_not_matter() -> None:
    one = pa.schema([pa.field("a", pa.int64(), nullable=False), ("b", pa.string())])
    other = pa.schema([("b", pa.string()), ("a", pa.int64())])
    assert unify([("1", one), ("2", other)], "strict").equals(pa.schema([("a", pa.int64()), ("b", pa.string())]))
