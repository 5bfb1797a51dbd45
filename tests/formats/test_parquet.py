"""Parquet: statistics never cost a row, footers are parsed once, and what a file lacks is never made up."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.formats.errors import CorruptError, SchemaError
from forebay.formats.manifest import Manifest
from forebay.formats.source import Source, open_source
from forebay.formats.store import store_for
from forebay.formats.writer import ShardOptions, ShardWriter

X, N = pc.field("x"), pc.field("n")
FILTERS = [
    X != 5.0,
    ~(X <= 5.0),
    X > 5.0,
    X == 5.0,
    pc.is_nan(X),
    X.is_null(),
    X.is_null(nan_is_null=True),
    X.is_valid(),
    (X <= 5.0) == pc.field("flag"),
    (N > 3) & (X != 5.0),
    (N > 3) | X.is_valid(),
    N.isin([1, 2]),
    ~N.isin([1, 2]),
    N != 2,
]


def count(source: Source, filter: pc.Expression) -> int:
    """Rows that pass, of those that the reader gives when it knows the filter."""
    return sum(
        pa.Table.from_batches([batch]).filter(filter).num_rows
        for one in source.fragments()
        for batch in source.read(one, filter=filter)
    )


@given(
    xs=st.lists(st.sampled_from([5.0, 4.0, 6.0, float("nan"), float("inf"), None]), min_size=1, max_size=12),
    ns=st.lists(st.sampled_from([1, 2, 3, 4, None]), min_size=12, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_statistics_cost_no_row_that_passes(
    xs: list[float | None], ns: list[int | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "t.parquet"
    flags = [at % 2 == 0 for at in range(len(xs))]
    table = pa.table({"x": pa.array(xs, pa.float64()), "n": pa.array(ns[: len(xs)], pa.int64()), "flag": flags})
    pq.write_table(table, path, row_group_size=2)
    source = open_source(str(path))
    for filter in FILTERS:
        assert count(source, filter) == table.filter(filter).num_rows, str(filter)


@pytest.mark.parametrize("filter", [N > 850, X > 850.0, (N > 850) & X.is_valid(), (X > 850.0) & (X <= 2000.0)])
def test_groups_that_cannot_match_are_not_read(filter: pc.Expression, tmp_path: Path) -> None:
    table = pa.table({"n": range(1000), "x": np.arange(1000.0)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=100)
    source = open_source(str(tmp_path))
    given = [sum(batch.num_rows for batch in source.read(one, filter=filter)) for one in source.fragments()]
    assert given == [0] * 8 + [100, 100]


def test_a_footer_is_parsed_once_for_all_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"n": range(1000)}), tmp_path / "t.parquet", row_group_size=10)
    parsed: list[bool] = []
    opened = pq.ParquetFile

    def counted(*args: object, **kwargs: object) -> pq.ParquetFile:
        parsed.append(kwargs["metadata"] is None)
        return opened(*args, **kwargs)

    monkeypatch.setattr(pq, "ParquetFile", counted)
    source = open_source(str(tmp_path))
    assert sum(batch.num_rows for one in source.fragments() for batch in source.read(one)) == 1000
    assert sum(parsed) == 1 and len(parsed) == 101
    again = pickle.loads(pickle.dumps(source))
    assert again.fragments() == source.fragments() and again.schema.equals(source.schema)
    assert sum(parsed) == 1


def test_a_file_that_was_rewritten_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": range(10)}), path)
    source = open_source(str(path))
    (fragment,) = source.fragments()
    assert [batch.num_rows for batch in source.read(fragment)] == [10]
    pq.write_table(pa.table({"n": range(300)}), path)
    assert [batch.num_rows for batch in source.read(fragment)] == [300]


def test_a_shard_that_lost_a_column_is_refused_and_not_filled(tmp_path: Path) -> None:
    store, folder = store_for(tmp_path)
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    with ShardWriter(store, folder, "part-00000", schema, ShardOptions()) as writer:
        writer.write(pa.record_batch({"a": [1], "b": ["x"]}, schema=schema))
        infos = writer.close()
    Manifest(format="parquet", schema=schema, shards=infos).write(store, folder)
    pq.write_table(pa.table({"a": [1]}), tmp_path / infos[0].name)
    source = open_source(str(tmp_path))
    with pytest.raises(SchemaError, match=r"00000\.parquet: column 'b' \(string\) is missing: the file is not the one"):
        list(source.read(source.fragments()[0]))
    pq.write_table(pa.table({"a": ["text"], "b": ["x"]}), tmp_path / infos[0].name)
    with pytest.raises(SchemaError, match=r"column 'a' is string here and int64 in the data set, and not every value"):
        list(source.read(source.fragments()[0]))


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"t\.parquet: column 'a' is there twice; rename one"):
        _ = open_source(str(tmp_path)).schema


def test_rows_are_counted_without_reading_a_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(25)}), tmp_path / "t.parquet", row_group_size=10)
    source = open_source(str(tmp_path))
    batches = [batch for one in source.fragments() for batch in source.read(one, columns=[])]
    assert [(batch.num_rows, batch.num_columns) for batch in batches] == [(10, 0), (10, 0), (5, 0)]


def test_a_fragment_wanted_at_once_comes_in_as_few_steps_as_32_mb_allow(tmp_path: Path) -> None:
    narrow = pa.table({"a": np.arange(100_000)})
    wide = pa.table({"a": np.arange(100_000), "b": np.random.default_rng(0).random(100_000).astype("f8")})
    wide = wide.append_column(
        "c", pa.FixedSizeBinaryArray.from_buffers(pa.binary(600), 100_000, [None, pa.py_buffer(bytes(60_000_000))])
    )
    for name, table, most in (("narrow", narrow, 1), ("wide", wide, 2)):
        path = tmp_path / name
        path.mkdir()
        pq.write_table(table, path / "t.parquet", row_group_size=100_000, use_dictionary=False)
        source = open_source(str(path))
        (fragment,) = source.fragments()
        in_steps, at_once = (list(source.read(fragment, at_once=one)) for one in (False, True))
        assert len(at_once) == most < len(in_steps)
        assert pa.Table.from_batches(at_once) == pa.Table.from_batches(in_steps) == table


def test_no_rows_at_all(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "t.parquet")
    source = open_source(str(tmp_path))
    assert source.schema.names == ["a"]
    assert sum(batch.num_rows for one in source.fragments() for batch in source.read(one)) == 0


def test_damage_in_a_column_is_named_with_its_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pq.write_table(pa.table({"a": rng.integers(0, 2**60, 5000)}), tmp_path / "t.parquet", compression="zstd")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[4:2000] = bytes(1996)
    (tmp_path / "t.parquet").write_bytes(data)
    source = open_source(str(tmp_path))
    with pytest.raises(CorruptError, match=r"t\.parquet: row groups 0 to 0 cannot be read"):
        list(source.read(source.fragments()[0]))


@pytest.mark.parametrize("width", [1, 12, 13, 40])
def test_wide_row_groups_read_at_once_are_those_read_in_steps(tmp_path, width):
    rng = np.random.default_rng(width)
    columns = {f"c{at}": pa.array(rng.integers(0, 9, 50), mask=rng.random(50) < 0.2) for at in range(width)}
    columns["text"] = pa.array([None if at % 7 == 0 else "x" * at for at in range(50)])
    columns["lists"] = pa.array([list(range(at % 5)) for at in range(50)])
    pq.write_table(pa.table(columns), tmp_path / "wide.parquet", row_group_size=20)
    source = open_source(str(tmp_path / "wide.parquet"))
    for fragment in source.fragments():
        at_once, in_steps = (list(source.read(fragment, at_once=one)) for one in (True, False))
        assert pa.Table.from_batches(at_once).equals(pa.Table.from_batches(in_steps))
    some = ["lists", "c0"]
    found = list(source.read(source.fragments()[2], columns=some, at_once=True))
    assert found[0].num_rows == 10 and set(found[0].schema.names) == set(some)


def test_nan_and_infinity_are_values(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, float("nan"), float("inf")]}), tmp_path / "t.parquet")
    source = open_source(str(tmp_path / "t.parquet"))
    (batch,) = source.read(source.fragments()[0])
    found = batch.column("x").to_pylist()
    assert found[0] == 1.0 and found[1] != found[1] and found[2] == float("inf")
