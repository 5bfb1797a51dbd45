"""Shards: bounded, the same bytes for the same rows, and absent or whole whatever happens while they are written."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import shard_writing

from forebay.formats import row_groups
from forebay.formats.checksum import checksum
from forebay.formats.errors import SchemaError, SpecError, StorageError
from forebay.formats.manifest import Manifest, ShardInfo
from forebay.formats.source import open_source
from forebay.formats.store import store_for
from forebay.formats.verify import verify
from forebay.formats.writer import ShardOptions, ShardWriter

SCHEMA = pa.schema(
    [
        ("i", pa.int64()),
        ("f", pa.float32()),
        ("s", pa.string()),
        ("flag", pa.bool_()),
        ("l", pa.list_(pa.int32())),
    ]
)


def rows(count: int, seed: int = 0) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    return pa.record_batch(
        [
            pa.array(rng.integers(-9, 9, count), mask=rng.random(count) < 0.1),
            pa.array(rng.normal(size=count).astype(np.float32), mask=rng.random(count) < 0.1),
            pa.array(["é" * int(n) for n in rng.integers(0, 30, count)]),
            pa.array(rng.random(count) < 0.5, mask=rng.random(count) < 0.1),
            pa.array([[1] * int(n) for n in rng.integers(0, 3, count)], pa.list_(pa.int32())),
        ],
        schema=SCHEMA,
    )


def write(directory: Path, batches: list[pa.RecordBatch], **options: object) -> list[ShardInfo]:
    directory.mkdir(parents=True, exist_ok=True)
    store, inner = store_for(directory)
    made = ShardOptions(**options)  # type: ignore[arg-type]  # the fields' types are the tests' own
    writer = ShardWriter(store, inner, "part-00012", batches[0].schema, made)
    for one in batches:
        writer.write(one)
    return writer.close()


def digests(directory: Path) -> dict[str, str]:
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in sorted(directory.iterdir())}


def cut(batch: pa.RecordBatch, places: list[int]) -> list[pa.RecordBatch]:
    edges = [0, *sorted(place % (batch.num_rows + 1) for place in places), batch.num_rows]
    return [batch.slice(a, b - a) for a, b in zip(edges[:-1], edges[1:], strict=True)]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_shards_are_named_bounded_and_described(format: str, tmp_path: Path) -> None:
    infos = write(tmp_path, [rows(1000), rows(1500, 1)], format=format, max_rows=900, row_group_rows=400)
    assert [one.name for one in infos] == [f"part-00012-0000{at}.{format}" for at in range(3)]
    assert [one.rows for one in infos] == [900, 900, 700]
    assert [one.group_rows() for one in infos] == [[400, 400, 100], [400, 400, 100], [400, 300]]
    store, inner = store_for(tmp_path)
    for one in infos:
        assert store.info(f"{inner}/{one.name}").size == one.nbytes
        with store.open_input(f"{inner}/{one.name}") as file:
            assert checksum(file) == one.checksum
    source = open_source(str(tmp_path))
    assert [one.rows for one in source.fragments()] == [rows for one in infos for rows in one.group_rows()]
    back = pa.Table.from_batches([batch for one in source.fragments() for batch in source.read(one)])
    assert back.equals(pa.Table.from_batches([rows(1000), rows(1500, 1)]))


def test_a_shard_is_closed_when_its_bytes_are_reached(tmp_path: Path) -> None:
    batch = pa.record_batch({"x": np.zeros(1000, np.int64)})
    infos = write(tmp_path, [batch] * 4, max_bytes=16_000, row_group_rows=1000)
    assert [one.rows for one in infos] == [2000, 2000]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
@given(places=st.lists(st.integers(0, 2500), max_size=8))
@settings(max_examples=15, deadline=None)
def test_bytes_do_not_depend_on_how_rows_came(
    format: str, places: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    batch = rows(2500)
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    assert write(whole, [batch], format=format, max_rows=1100) == write(
        parts, cut(batch, places), format=format, max_rows=1100
    )
    assert digests(whole) == digests(parts)


def test_what_lies_under_a_null_is_not_written(tmp_path: Path) -> None:
    def array(under: int) -> pa.Array:
        values, valid = np.array([1, under, 3], np.int32), np.array([0b101], np.uint8)
        return pa.Array.from_buffers(pa.int32(), 3, [pa.py_buffer(valid), pa.py_buffer(values)])

    for under in (7, 8):
        write(tmp_path / str(under), [pa.record_batch([array(under)], ["x"])], format="arrow")
    assert digests(tmp_path / "7") == digests(tmp_path / "8")
    with pa.ipc.open_file(str(tmp_path / "7" / "part-00012-00000.arrow")) as file:
        assert file.read_all().column("x").to_pylist() == [1, None, 3]


def test_the_row_group_follows_the_size_of_the_rows(tmp_path: Path) -> None:
    small = pa.record_batch({"x": np.zeros(2000, np.int64)})
    large = pa.record_batch({"x": pa.array([bytes(500_000)] * 64)})
    assert write(tmp_path / "s", [small])[0].row_group_rows == row_groups.MAX_ROWS
    assert write(tmp_path / "l", [large])[0].row_group_rows == 32
    assert row_groups.rows_for([rows(10)], 10, complete=False) is None


def test_no_rows_make_no_shard(tmp_path: Path) -> None:
    assert write(tmp_path, [rows(0)]) == []
    assert digests(tmp_path) == {}


def test_a_batch_of_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="was given to a writer of"):
        write(tmp_path, [rows(10), pa.record_batch({"i": [1]})])


def test_bad_bounds_are_refused() -> None:
    for bad in ({"max_rows": 0}, {"max_bytes": 0}, {"row_group_rows": -1}):
        with pytest.raises(SpecError, match="expected at least 1"):
            ShardOptions(**bad)
    with pytest.raises(SpecError, match="expected 'parquet' or 'arrow'"):
        ShardOptions(format="csv")  # type: ignore[arg-type]  # refused


def test_a_type_that_the_format_lacks_is_refused_and_nothing_left(tmp_path: Path) -> None:
    union = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])
    with pytest.raises(SchemaError, match=r"part-00012-00000\.parquet: a column cannot be written as Parquet"):
        write(tmp_path, [pa.record_batch([union], ["u"])])
    assert digests(tmp_path) == {}


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_after_an_exception_no_file_is_left(format: str, tmp_path: Path) -> None:
    store, inner = store_for(tmp_path)
    options = ShardOptions(format=format, row_group_rows=100)  # type: ignore[arg-type]  # one of the two
    with pytest.raises(KeyError), ShardWriter(store, inner, "part-00000", SCHEMA, options) as writer:
        writer.write(rows(500))
        assert [one.name[:13] for one in tmp_path.iterdir()] == [".forebay-tmp-"]
        raise KeyError
    assert digests(tmp_path) == {}


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_killed_in_the_middle_no_half_shard_is_seen(format: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.shard_writing", "kill", str(tmp_path), format], env=environment()
    )
    assert done.returncode == -signal.SIGKILL
    store, inner = store_for(tmp_path)
    assert [one.path for one in store.list(inner)] == [f"{inner}/part-00000-00000.{format}"]
    source = open_source(str(tmp_path))
    assert sum(one.rows or 0 for one in source.fragments()) == 2000
    assert any(name.startswith(".forebay-tmp-") for name in os.listdir(tmp_path))
    store.sweep(inner)
    assert os.listdir(tmp_path) == [f"part-00000-00000.{format}"]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_file_that_may_not_grow_is_said_and_nothing_left(format: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "support.shard_writing", "limit", str(tmp_path), format]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert f"StorageError {tmp_path}/part-00000-00000.{format}: cannot be written: " in done.stdout
    assert "File too large" in done.stdout and "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def environment() -> dict[str, str]:
    tests = str(Path(__file__).parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "tiny"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_full_disk_keeps_whole_shards_and_drops_the_broken_one(format: str, tiny_disk: Path) -> None:
    batches = [shard_writing.batch(rows=400)] * 5
    with pytest.raises(StorageError, match=r"part-00012-00002\.\w+: cannot be written: .*No space left on device"):
        write(tiny_disk, batches, format=format, max_rows=400, row_group_rows=100)
    assert list(digests(tiny_disk)) == [f"part-00012-0000{at}.{format}" for at in range(2)]
    assert sum(one.rows or 0 for one in open_source(str(tiny_disk)).fragments()) == 800


def test_pages_have_an_index_and_rows_statistics(tmp_path: Path) -> None:
    write(tmp_path, [rows(2500)])
    chunk = pq.ParquetFile(tmp_path / "part-00012-00000.parquet").metadata.row_group(0).column(0)
    assert chunk.has_column_index and chunk.has_offset_index and chunk.compression == "ZSTD"
    assert chunk.statistics.has_min_max and chunk.statistics.null_count > 0


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_values_of_every_kind_survive(format: str, tmp_path: Path) -> None:
    kinds = [pa.int8(), pa.uint16(), pa.uint64(), pa.float64(), pa.bool_(), pa.date32(), pa.time32("s")]
    columns = {str(one): pa.array([1, None, 0], pa.int32()).cast(one) for one in kinds}
    columns["half"] = pa.array([np.float16(1.5), None, np.float16("nan")], pa.float16())
    columns["seconds"] = pa.array([1, None, 3], pa.timestamp("s"))
    columns["took"] = pa.array([1, None, 3], pa.duration("s"))
    columns["nothing"] = pa.nulls(3)
    columns["time"] = pa.array([1, None, 3], pa.timestamp("us", "UTC"))
    columns["decimal"] = pa.array([1, None, 3]).cast(pa.decimal128(30, 2))
    columns["bytes"] = pa.array([b"", None, b"\0\xff"])
    columns["large"] = pa.array(["é", None, ""], pa.large_string())
    columns["list"] = pa.array([[1.5, None], None, []])
    columns["struct"] = pa.array([{"x": 1, "y": ["a"]}, None, {"x": None, "y": None}])
    columns["words"] = pa.array(["a", "b", "a"]).dictionary_encode()
    pixels = pa.array([[1, 2, 3, 4]] * 3, pa.list_(pa.uint8(), 4))
    columns["tensor"] = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.uint8(), (2, 2)), pixels)
    batch = pa.record_batch(columns)
    infos = write(tmp_path, [batch], format=format)
    store, folder = store_for(tmp_path)
    Manifest(format=format, schema=batch.schema, shards=infos).write(store, folder)
    assert verify(str(tmp_path)).ok  # though Parquet holds seconds as milliseconds
    source = open_source(str(tmp_path))
    back = pa.Table.from_batches([one for part in source.fragments() for one in source.read(part)])
    assert back.schema.equals(batch.schema)
    # NaN is no value equal to itself, so compare as text
    assert str(back.to_pylist()) == str(pa.Table.from_batches([batch]).to_pylist())
