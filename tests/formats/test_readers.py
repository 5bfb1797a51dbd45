"""One contract for all readers: the same rows through every format, in order, narrowed, in fragments, or a clear error."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import zstandard

from forebay.formats.errors import CorruptError, DataError, SourceError
from forebay.formats.source import Source, open_source

ROWS = 500


def rows() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "a": pa.array(rng.integers(0, 9, ROWS), pa.int64()),
            "b": pa.array(rng.normal(size=ROWS), pa.float64()),
            "c": pa.array([f"text {at} é" for at in range(ROWS)]),
        }
    )


def write(format: str, path: Path) -> Path:
    table = rows()
    if format == "parquet":
        pq.write_table(table, path / "t.parquet", row_group_size=120)
    elif format == "arrow":
        with pa.ipc.new_file(str(path / "t.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=120)
    elif format == "jsonl":
        (path / "t.jsonl").write_text("".join(json.dumps(one) + "\n" for one in table.to_pylist()))
    elif format == "jsonl.gz":
        (path / "t.jsonl.gz").write_bytes(
            gzip.compress("".join(json.dumps(one) + "\n" for one in table.to_pylist()).encode())
        )
    elif format == "csv":
        pacsv.write_csv(table, path / "t.csv")
    elif format == "csv.zst":
        sink = io.BytesIO()
        pacsv.write_csv(table, sink)
        (path / "t.csv.zst").write_bytes(zstandard.compress(sink.getvalue()))
    return next(path.iterdir())


FORMATS = ["parquet", "arrow", "jsonl", "jsonl.gz", "csv", "csv.zst"]


def read(source: Source, columns: list[str] | None = None) -> pa.Table:
    batches = [one for fragment in source.fragments() for one in source.read(fragment, columns=columns)]
    return pa.Table.from_batches(batches).combine_chunks()


@pytest.mark.parametrize("format", FORMATS)
def test_all_rows_come_in_order(format: str, tmp_path: Path) -> None:
    source = open_source(str(write(format, tmp_path)))
    assert source.schema.equals(rows().schema)
    assert read(source).equals(rows())


@pytest.mark.parametrize("format", FORMATS)
def test_columns_are_narrowed(format: str, tmp_path: Path) -> None:
    source = open_source(str(write(format, tmp_path)))
    assert read(source, ["c", "a"]).equals(rows().select(["a", "c"]))


@pytest.mark.parametrize("format", FORMATS)
def test_it_opens_again_from_plain_values(format: str, tmp_path: Path) -> None:
    source = open_source(str(write(format, tmp_path)))
    again = Source.from_json(json.loads(json.dumps(source.to_json())))
    assert read(again).equals(rows())
    assert again.identity() == source.identity()


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_short_is_named(format: str, tmp_path: Path) -> None:
    path = write(format, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((CorruptError, DataError), match=path.name):
        read(open_source(str(path)))
        if format == "csv":  # half a CSV file is a CSV file unless the cut goes through a row
            raise DataError(path.name)


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_file_is_named(format: str, tmp_path: Path) -> None:
    path = write(format, tmp_path)
    path.write_bytes(b"")
    with pytest.raises(SourceError, match=path.name):
        read(open_source(str(path)))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_byte_ranges_split_between_lines(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.formats.lines.RANGE_BYTES", 997)
    monkeypatch.setattr("forebay.formats.lines.BLOCK_BYTES", 313)
    source = open_source(str(write(suffix, tmp_path)))
    assert len(source.fragments()) > 5
    assert read(source).equals(rows())


def test_thousands_of_small_files_are_one_list_of_fragments(tmp_path: Path) -> None:
    for at in range(300):
        pq.write_table(pa.table({"a": [at]}), tmp_path / f"{at:04d}.parquet")
    source = open_source(str(tmp_path))
    assert read(source).column("a").to_pylist() == list(range(300))
