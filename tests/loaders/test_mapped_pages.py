"""Pages are given back of mapped files alone, and what is read afterwards is what was there."""

import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa

import forebay as fb
from forebay.loaders.mapped_pages import MOST_BYTES, SHARE, WIDE, MappedPages, mapped_spans, pages_from

ROWS, EACH = 400, 40_000


def written(path: Path, *, compression: str | None = None) -> list[bytes]:
    rng = np.random.default_rng(5)
    rows = [rng.bytes(EACH) for _ in range(ROWS)]
    batch = pa.record_batch({"bytes": pa.array(rows, pa.binary()), "at": np.arange(ROWS)})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(str(path), batch.schema, options=options) as sink:
        for start in range(0, ROWS, 64):
            sink.write_batch(batch.slice(start, 64))
    return rows


def resident(path: Path) -> int:
    """Bytes of a file that this process has mapped and touched."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


def test_rows_are_right_and_the_file_is_not_kept_in_memory(tmp_path):
    path = tmp_path / "rows.arrow"
    rows = written(path)
    loader = fb.DataLoader(fb.scan(str(path)), batch_size=10, shuffle=True, num_workers=2)
    most = 0
    for _ in range(2):
        for batch in loader:
            assert batch["bytes"] == [rows[at] for at in batch["at"].tolist()]
            most = max(most, resident(path))
    assert 0 < most < ROWS * EACH - MOST_BYTES


def test_spans_hold_the_mapped_buffers_and_nothing_of_other_memory(tmp_path):
    path = tmp_path / "rows.arrow"
    written(path)
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    buffer = batch.column(0).buffers()[2]
    heap = pa.py_buffer(bytes(1 << 20))
    ((start, stop),) = mapped_spans([(one.address, one.address + one.size) for one in (buffer, heap)])
    assert buffer.address <= start < stop <= buffer.address + buffer.size
    assert start % mmap.PAGESIZE == stop % mmap.PAGESIZE == 0
    assert mapped_spans([(heap.address, heap.address + heap.size)]) == []


def test_memory_that_can_be_written_to_is_left_alone(tmp_path):
    (tmp_path / "file").write_bytes(bytes(1 << 16))
    with open(tmp_path / "file", "r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[5] = 7
        address = np.frombuffer(mapped, np.uint8).ctypes.data
        assert mapped_spans([(address, address + (1 << 16))]) == []
        assert mapped[5] == 7


def test_batches_that_were_unpacked_into_memory_stay_whole(tmp_path):
    path = tmp_path / "rows.arrow"
    rows = written(path, compression="lz4")
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    pages = MappedPages()
    pages.add(batch)
    pages.copied(MOST_BYTES)
    assert batch.column("bytes").to_pylist() == rows[:64]


def test_the_hand_goes_round_all_spans_by_whole_pages():
    page = mmap.PAGESIZE
    spans = [(10 * page, 13 * page), (20 * page, 22 * page)]
    found, hand = pages_from(spans, 0, 2 * page + 5)
    assert found == [(10 * page, 12 * page)] and hand == 2 * page
    found, hand = pages_from(spans, hand, 4 * page)
    assert found == [(12 * page, 13 * page), (20 * page, 22 * page), (10 * page, 11 * page)] and hand == page
    assert pages_from(spans, hand, 99 * page) == (
        [(11 * page, 13 * page), (20 * page, 22 * page), (10 * page, 11 * page)],
        page,
    )
    assert pages_from([], 7, page) == ([], 0)


def test_of_wide_rows_that_are_read_where_they_lie_some_pages_are_given_back_and_of_others_none(tmp_path, monkeypatch):
    monkeypatch.setattr("forebay.loaders.mapped_pages.HAND_BYTES", mmap.PAGESIZE)
    for width, given in ((2 * WIDE, True), (WIDE // 4, False)):
        path = tmp_path / f"{width}.arrow"
        values = np.arange(64 * width, dtype=np.uint64).astype(np.uint8)
        ids = pa.FixedSizeListArray.from_arrays(pa.array(values), width)
        batch = pa.record_batch({"x": ids})
        with pa.ipc.new_file(str(path), batch.schema) as sink:
            sink.write_batch(batch)
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        pages = MappedPages()
        pages.add(batch)
        flat = np.frombuffer(batch["x"].values.buffers()[1], np.uint8)
        assert flat.sum() == values.sum()
        before = resident(path)
        pages.taken(2 * SHARE)
        assert (resident(path) < before) == given
        assert np.array_equal(flat, values) and resident(path) == before
