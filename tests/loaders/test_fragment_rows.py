"""Fragments on their way into windows: decoded as far as needed, held as long as needed, checked for their rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from forebay.formats.errors import DataError
from forebay.loaders.fragment_rows import FragmentRows

decoded: list[int] = []


def batches(sizes: list[int]) -> Iterator[pa.RecordBatch]:
    at = 0
    for size in sizes:
        decoded.append(at)
        yield pa.record_batch({"row": pa.array(range(at, at + size), pa.int64())})
        at += size


def rows_of(found: list[tuple[int, pa.RecordBatch]]) -> list[int]:
    assert all(batch["row"][0].as_py() == first for first, batch in found)
    return [row for _, batch in found for row in batch["row"].to_pylist()]


@pytest.fixture(autouse=True)
def nothing_decoded() -> None:
    decoded.clear()


def test_only_what_a_window_needs_is_decoded() -> None:
    load = FragmentRows(lambda: batches([10, 10, 10]), 30, "f")
    load.expect((0, 5), None)
    assert rows_of(load.take((0, 5))) == list(range(10)) and decoded == [0]
    load.expect((5, 12), None)
    assert rows_of(load.take((5, 12))) == list(range(20)) and decoded == [0, 10]
    load.expect((12, 30), None)
    assert rows_of(load.take((12, 30))) == list(range(10, 30)) and decoded == [0, 10, 20]


def test_rows_are_held_while_a_window_expects_them_and_no_longer() -> None:
    load = FragmentRows(lambda: batches([10, 10, 10]), 30, "f")
    load.expect((0, 5), None)
    load.expect((5, 30), None)
    assert rows_of(load.take((5, 30))) == list(range(30))
    assert rows_of(load.take((0, 5))) == list(range(10))
    load.expect((25, 30), None)
    load.take((25, 30))
    assert [first for first, _ in load._batches] == [20]


def test_threads_decode_ahead_in_order() -> None:
    with ThreadPoolExecutor(3) as pool:
        load = FragmentRows(lambda: batches([7] * 10), 70, "f")
        ranges = [(at, at + 10) for at in range(0, 70, 10)]
        for one in ranges:
            load.expect(one, pool)
        for first, stop in ranges:
            assert set(range(first, stop)) <= set(rows_of(load.take((first, stop))))
    assert decoded == list(range(0, 70, 7))


@pytest.mark.parametrize(
    ("sizes", "found"), [([10, 5], "has 15 rows"), ([10, 20], "has more than 20 rows"), ([20, 1], "has more")]
)
def test_a_file_that_has_changed_is_an_error(sizes: list[int], found: str) -> None:
    load = FragmentRows(lambda: batches(sizes), 20, "a.parquet: fragment 3")
    load.expect((0, 20), None)
    with pytest.raises(DataError, match=f"a.parquet: fragment 3 {found}.*the file has changed since"):
        load.take((0, 20))


def test_an_error_of_the_reader_is_raised_where_the_rows_are_taken_each_time() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches([10])
        raise DataError("torn page")

    with ThreadPoolExecutor(1) as pool:
        load = FragmentRows(broken, 30, "f")
        load.expect((0, 5), pool)
        load.expect((5, 30), pool)
        assert rows_of(load.take((0, 5))) == list(range(10))
    for _ in range(2):
        with pytest.raises(DataError, match="torn page"):
            load.take((5, 30))


def test_empty_batches_are_no_rows() -> None:
    load = FragmentRows(lambda: batches([0, 10, 0, 10, 0]), 20, "f")
    load.expect((0, 20), None)
    assert rows_of(load.take((0, 20))) == list(range(20))
