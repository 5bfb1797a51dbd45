"""A source: lazy, one schema, fragments in order, the same in another process, a fingerprint that follows the data."""

import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forebay.formats.errors import SchemaError, SourceError, SpecError, StateError
from forebay.formats.manifest import Manifest
from forebay.formats.parquet import ParquetReader
from forebay.formats.schemas import conform, unify
from forebay.formats.source import Source, open_source
from forebay.formats.store import store_for
from forebay.formats.writer import ShardOptions, ShardWriter

SCHEMA = pa.schema([("a", pa.int64())])


def prepared(folder: Path, *, rows: int = 100, format: str = "parquet") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    store, inner = store_for(folder)
    options = ShardOptions(format=format, max_rows=40, row_group_rows=16)  # type: ignore[arg-type]  # one of the two
    with ShardWriter(store, inner, "part-00000", SCHEMA, options) as writer:
        writer.write(pa.record_batch({"a": range(rows)}, schema=SCHEMA))
        infos = writer.close()
    Manifest(format=format, schema=SCHEMA, shards=infos, fingerprint="f").write(store, inner)
    return folder


def values(source: Source) -> list[int]:
    return [one for part in source.fragments() for batch in source.read(part) for one in batch["a"].to_pylist()]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_manifest_tells_all_without_opening_a_shard(format: str, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "out", format=format)
    known = open_source(str(folder)).fragments()
    (folder / "manifest.json").rename(tmp_path / "manifest.json")
    found = open_source(str(folder)).fragments()
    assert [(one.path, one.start, one.stop, one.rows) for one in known] == [
        (one.path, one.start, one.stop, one.rows) for one in found
    ]
    (tmp_path / "manifest.json").rename(folder / "manifest.json")
    for one in folder.glob("part-*"):
        one.unlink()
    source = open_source(str(folder))
    assert len(source.fragments()) == len(known) and source.schema.equals(SCHEMA)
    with pytest.raises(SourceError, match="no such file"):
        values(source)


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("carry", ["json", "pickle"])
def test_another_process_opens_the_same(carry: str, with_manifest: bool, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "out")
    if not with_manifest:
        (folder / "manifest.json").unlink()
    source = open_source(str(folder))
    if carry == "json":
        again = Source.from_json(json.loads(json.dumps(source.to_json())))
    else:
        again = pickle.loads(pickle.dumps(source))
    assert again.fragments() == source.fragments() and again.schema.equals(source.schema)
    assert again.identity() == source.identity()
    assert values(again) == list(range(100))


def test_a_worker_needs_no_footer_for_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(3):
        pq.write_table(pa.table({"a": [at]}), tmp_path / f"{at}.parquet")
    value = open_source(str(tmp_path)).to_json()
    monkeypatch.setattr(ParquetReader, "layout", None)
    assert Source.from_json(value).schema.equals(SCHEMA)


def test_a_prepared_set_whose_columns_changed_is_refused(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "out")
    value = open_source(str(folder)).to_json()
    store, inner = store_for(folder)
    Manifest(format="parquet", schema=pa.schema([("b", pa.int64())]), shards=()).write(store, inner)
    with pytest.raises(StateError, match="the columns are other than when the plan was made; plan again"):
        Source.from_json(value)


def test_an_output_without_rows_opens(tmp_path: Path) -> None:
    source = open_source(str(prepared(tmp_path / "out", rows=0)))
    assert source.fragments() == () and source.schema.equals(SCHEMA)
    assert pickle.loads(pickle.dumps(source)).fragments() == ()
    assert Source.from_json(source.to_json()).fragments() == ()


def test_the_identity_follows_the_data_and_not_the_place(tmp_path: Path) -> None:
    first = open_source(str(prepared(tmp_path / "a"))).identity()
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert open_source(str(tmp_path / "b")).identity() == first
    assert open_source(str(prepared(tmp_path / "c", rows=99))).identity() != first
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    raw = open_source(str(tmp_path / "t.parquet")).identity()
    assert open_source(str(tmp_path / "t.parquet")).identity() == raw
    os.utime(tmp_path / "t.parquet", (1, 1))
    assert open_source(str(tmp_path / "t.parquet")).identity() != raw


def test_files_that_are_no_data_are_left_aside_in_a_directory(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    for name in ("README.md", "LICENSE", "_SUCCESS", ".part.parquet.crc"):
        (tmp_path / name).write_text("x")
    assert values(open_source(str(tmp_path))) == [1]
    (tmp_path / "t.csv").write_text("a\n2\n")
    with pytest.raises(SpecError, match=r"files of several formats: .*t\.csv is csv, .*t\.parquet is parquet"):
        open_source(str(tmp_path))
    assert values(open_source(str(tmp_path), "csv")) == [2]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match=r"only: the directory holds no file that can be read; .*notes\.txt"):
        open_source(str(tmp_path / "only"))


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    for at in range(3):
        pq.write_table(pa.table({"a": [at]}), tmp_path / f"{at}.parquet")
    paths = [tmp_path / "2.parquet", str(tmp_path / "0.parquet")]
    assert values(open_source(paths)) == [2, 0]


def test_threads_may_share_a_source(tmp_path: Path) -> None:
    source = open_source(str(prepared(tmp_path / "out", rows=2000)))
    with ThreadPoolExecutor(8) as pool:
        read = lambda one: [v for batch in source.read(one) for v in batch["a"].to_pylist()]  # noqa: E731
        parts = list(pool.map(read, source.fragments()))
    assert [one for part in parts for one in part] == list(range(2000))


def test_an_unknown_way_to_unify_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path)
    with pytest.raises(SpecError, match="schema is 'loose'; expected 'strict' or 'union'"):
        open_source(str(tmp_path), schema="loose")  # type: ignore[arg-type]  # refused


def test_a_url_with_options_is_not_written_into_a_plan() -> None:
    store, path = store_for(
        "s3://KEY:SECRET@bucket/x.parquet?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:9"
    )
    with pytest.raises(SpecError, match="put them into the environment") as caught:
        Source(store, [path], "parquet").to_json()
    assert "SECRET" not in str(caught.value)


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
