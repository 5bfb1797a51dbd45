"""Arrow files: mapped and never copied where they are plain, only what is asked for where they are compressed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from forebay.formats.errors import CorruptError
from forebay.formats.source import open_source

TABLE = pa.table({"a": np.arange(1000), "b": [f"text {at} " * 50 for at in range(1000)]})


def write(path: Path, compression: str | None = None, *, stream: bool = False) -> str:
    made = pa.ipc.new_stream if stream else pa.ipc.new_file
    with made(str(path), TABLE.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as file:
        file.write_table(TABLE, max_chunksize=300)
    return str(path)


KINDS = [(None, False), ("lz4", False), ("zstd", False), (None, True), ("zstd", True)]


@pytest.mark.parametrize(("compression", "stream"), KINDS)
def test_files_and_streams_are_read_alike(compression: str | None, stream: bool, tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "t.arrow", compression, stream=stream))
    assert [one.rows for one in source.fragments()] == [300, 300, 300, 100]
    back = [batch for one in source.fragments() for batch in source.read(one, columns=["b"])]
    assert pa.Table.from_batches(back).equals(TABLE.select(["b"]))
    assert source.random_access
    assert pa.Table.from_batches(source.open_batches(source.paths[0])).equals(TABLE)
    counted = [batch.num_rows for one in source.fragments() for batch in source.read(one, columns=[])]
    assert counted == [300, 300, 300, 100]


@pytest.mark.parametrize("stream", [False, True])
def test_plain_buffers_stay_in_the_file(stream: bool, tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "t.arrow", stream=stream))
    before = pa.total_allocated_bytes()
    batches = source.open_batches(source.paths[0])
    read = [batch for one in source.fragments() for batch in source.read(one, columns=["b"])]
    assert pa.total_allocated_bytes() - before < 30_000  # of half a megabyte: headers only
    assert sum(batch.num_rows for batch in batches + read) == 2000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_file_cut_short_is_named(kept: float, stream: bool, tmp_path: Path) -> None:
    path = Path(write(tmp_path / "t.arrow", stream=stream))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CorruptError, match=r"t\.arrow: "):
        open_source(str(path)).fragments()


def test_another_file_under_the_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.arrow").write_bytes(b"this is no Arrow file" * 10)
    with pytest.raises(CorruptError, match=r"t\.arrow: not a whole Arrow IPC file"):
        _ = open_source(str(tmp_path / "t.arrow")).schema
