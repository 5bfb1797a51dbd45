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

from forebay.formats.errors import SourceError, SpecError, StateError, UnknownNameError
from forebay.formats.manifest import Manifest
from forebay.formats.parquet import ParquetReader
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


def test_a_url_with_options_is_not_written_into_a_plan() -> None:
    store, path = store_for(
        "s3://KEY:SECRET@bucket/x.parquet?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:9"
    )
    with pytest.raises(SpecError, match="put them into the environment") as caught:
        Source(store, [path], "parquet").to_json()
    assert "SECRET" not in str(caught.value)


def test_nothing_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path / "nope.parquet"))
    with pytest.raises(SourceError, match="no file matches"):
        open_source(str(tmp_path / "*.parquet"))
    with pytest.raises(SourceError, match="holds no files"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="no paths"):
        open_source([])
    for wrong in (5, [5]):
        with pytest.raises(
            SpecError, match="a path is 5; expected a file, a directory, a glob, a URL, or a list of these"
        ):
            open_source(wrong)


def test_suffixes_and_options_are_checked(tmp_path: Path) -> None:
    (tmp_path / "t.xyz").write_text("x")
    with pytest.raises(SourceError, match="no reader for this suffix"):
        open_source(str(tmp_path / "t.xyz"))
    with pytest.raises(UnknownNameError, match="did you mean parquet"):
        open_source(str(tmp_path / "t.xyz"), "parket")
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(UnknownNameError, match="did you mean delimiter"):
        open_source(str(tmp_path / "t.csv"), options={"delimeter": ";"})
    with pytest.raises(SpecError, match="files of several formats"):
        (tmp_path / "t.xyz").unlink()
        (tmp_path / "u.jsonl").write_text("{}")
        open_source(str(tmp_path))


def test_globs_stay_in_one_directory_unless_told(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("1.parquet", "deep/2.parquet"):
        pq.write_table(pa.table({"a": [1]}), tmp_path / name)
    assert len(open_source(str(tmp_path / "*.parquet")).paths) == 1
    assert len(open_source(str(tmp_path / "**" / "*.parquet")).paths) == 2


def test_secrets_in_urls_are_not_shown() -> None:
    with pytest.raises((SourceError, SpecError, OSError)) as caught:
        open_source("nosuchscheme://KEYID:SECRETKEY@bucket/x.parquet")
    assert "SECRETKEY" not in str(caught.value)
