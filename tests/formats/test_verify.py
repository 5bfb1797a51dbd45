"""Verify names each shard that is missing, truncated, altered, of another schema, or unknown, and finds nothing else."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forebay.formats.checksum import checksum
from forebay.formats.errors import SourceError
from forebay.formats.manifest import Manifest, ShardInfo
from forebay.formats.store import store_for
from forebay.formats.verify import VerifyReport, verify
from forebay.formats.writer import ShardOptions, ShardWriter

SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string())])


@pytest.fixture(params=["parquet", "arrow"])
def prepared(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data set of five shards of a thousand rows, with its manifest."""
    store, folder = store_for(tmp_path)
    options = ShardOptions(format=request.param, max_rows=1000, row_group_rows=300)
    with ShardWriter(store, folder, "part-00000", SCHEMA, options) as writer:
        for at in range(5):
            batch = pa.record_batch([np.arange(1000) + at, pa.array(["text"] * 1000)], schema=SCHEMA)
            writer.write(batch)
        infos = writer.close()
    Manifest(format=request.param, schema=SCHEMA, shards=infos).write(store, folder)
    return tmp_path


def shard(folder: Path, at: int) -> Path:
    return next(folder.glob(f"part-00000-{at:05d}.*"))


def faults(report: VerifyReport) -> list[tuple[str, str]]:
    return [(one.shard.rpartition("/")[2].partition(".")[0], one.fault) for one in report.findings]


def test_a_whole_data_set_has_no_fault(prepared: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(str(prepared), progress=lambda done, total: seen.append((done, total)))
    assert report.ok and report.has_manifest and (report.shards, report.rows) == (5, 5000)
    assert report.nbytes == sum(one.stat().st_size for one in prepared.glob("part-*"))
    assert seen == [(at, 5) for at in range(1, 6)]


def test_each_fault_is_named_with_its_shard(prepared: Path) -> None:
    shard(prepared, 0).unlink()
    data = shard(prepared, 1).read_bytes()
    shard(prepared, 1).write_bytes(data[: len(data) // 2])
    middle = bytearray(shard(prepared, 2).read_bytes())
    middle[len(middle) // 2] ^= 1
    shard(prepared, 2).write_bytes(middle)
    other = pa.table({"a": [1.5] * 20_000, "c": [1] * 20_000})
    if shard(prepared, 3).suffix == ".parquet":
        pq.write_table(other, shard(prepared, 3), compression="none", use_dictionary=False)
    else:
        with pa.ipc.new_file(str(shard(prepared, 3)), other.schema) as file:
            file.write_table(other)
    shard(prepared, 4).with_stem("stray").write_bytes(shard(prepared, 4).read_bytes())
    report = verify(str(prepared), threads=2)
    assert not report.ok
    assert faults(report) == [
        ("part-00000-00000", "missing"),
        ("part-00000-00001", "truncated"),
        ("part-00000-00002", "altered"),
        ("part-00000-00003", "schema"),
        ("stray", "unknown"),
    ]
    details = [one.detail for one in report.findings]
    assert details[1] == f"{len(data) // 2} bytes, expected {len(data)}"
    assert details[2].startswith("checksum xxh3_128:") and ", expected xxh3_128:" in details[2]
    assert details[3] == "columns a: double, c: int64; expected a: int64, b: string"


def test_bytes_added_at_the_end_are_an_alteration(prepared: Path) -> None:
    with shard(prepared, 2).open("ab") as file:
        file.write(b"more")
    assert faults(verify(str(prepared))) == [("part-00000-00002", "altered")]


def rewritten(folder: Path, **changed: object) -> None:
    """The manifest with the last shard's entry changed, as a writer with a mistake would have made it."""
    store, inner = store_for(folder)
    manifest = Manifest.read(store, inner)
    *rest, last = list(manifest.shards)
    values = {name: getattr(last, name) for name in ShardInfo.__dataclass_fields__} | changed
    Manifest(format=manifest.format, schema=manifest.schema, shards=[*rest, ShardInfo(**values)]).write(store, inner)


def test_a_row_count_that_is_wrong_is_named(prepared: Path) -> None:
    rewritten(prepared, rows=999)
    report = verify(str(prepared))
    assert faults(report) == [("part-00000-00004", "rows")]
    assert report.findings[0].detail == "1000 rows, expected 999"


def test_a_shard_with_a_good_checksum_that_cannot_be_read_is_named(prepared: Path) -> None:
    shard(prepared, 4).write_bytes(b"PAR1 not really PAR1")
    with store_for(prepared)[0].open_input(str(shard(prepared, 4))) as file:
        rewritten(prepared, checksum=checksum(file), nbytes=20)
    report = verify(str(prepared))
    assert faults(report) == [("part-00000-00004", "unreadable")]
    assert "not a whole" in report.findings[0].detail


def test_without_a_manifest_each_file_is_read(prepared: Path) -> None:
    (prepared / "manifest.json").unlink()
    report = verify(str(prepared))
    assert report.ok and not report.has_manifest and (report.shards, report.rows) == (5, 5000)
    data = shard(prepared, 1).read_bytes()
    shard(prepared, 1).write_bytes(data[: len(data) // 2])
    report = verify(str(prepared))
    assert faults(report) == [("part-00000-00001", "unreadable")] and report.rows == 4000


def test_without_a_manifest_a_file_of_another_schema_is_named(tmp_path: Path) -> None:
    for name, table in {"1": pa.table({"a": [1]}), "2": pa.table({"a": [1.5]}), "3": pa.table({"a": [2]})}.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    report = verify(str(tmp_path))
    assert faults(report) == [("2", "schema")]
    assert "column 'a' is double; in " in report.findings[0].detail


def test_bad_rows_of_text_files_make_them_unreadable(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    report = verify(str(tmp_path / "t.csv"))
    assert faults(report) == [("t", "unreadable")] and "1 fields, expected 2" in report.findings[0].detail


def test_nothing_there_is_an_error_and_no_report(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        verify(str(tmp_path / "nope"))
