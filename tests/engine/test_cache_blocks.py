"""Blocks of a unit: whatever the pieces it is written in, each is hashed alone, and a flipped bit is found in its block only."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.engine.cache_blocks import BLOCK_BYTES, SUM_BYTES, BlockCheck, BlockSums, blocks_of
from forebay.engine.cache_guard import guarded
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_store import Cache
from forebay.engine.cache_unit import open_unit

DATA = np.random.default_rng(0).integers(0, 256, 3 * BLOCK_BYTES + 1000, dtype=np.uint8)
WHOLE = memoryview(DATA)


def table_of(*parts: memoryview) -> bytes:
    sums = BlockSums()
    for one in parts:
        sums.update(one)
    return sums.table()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, len(DATA)), max_size=6), st.integers(0, len(DATA)))
def test_checksums_do_not_depend_on_how_the_bytes_came(cuts: list[int], length: int) -> None:
    edges = [0, *sorted(min(one, length) for one in cuts), length]
    table = table_of(*(WHOLE[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)))
    assert table == table_of(WHOLE[:length]) and len(table) == SUM_BYTES * blocks_of(length)
    assert BlockCheck(table, length).right(WHOLE[:length], range(blocks_of(length)))


def test_a_flipped_bit_is_found_in_its_block_and_others_are_right() -> None:
    bad = DATA.copy()
    bad[BLOCK_BYTES + 5] ^= 1
    check = BlockCheck(table_of(WHOLE), len(DATA))
    assert check.right(memoryview(bad), [0, 2, 3]) and not check.done
    assert not check.right(memoryview(bad), [0, 1]) and not check.done
    assert check.right(WHOLE, [1]) and check.done
    assert check.right(memoryview(bad), [1])  # what was found right is not read again


def opened(batch: pa.RecordBatch, directory: str, compression: object = None) -> tuple[Cache, str]:
    cache = Cache(CacheOptions(dir=directory, compression=compression))  # type: ignore[arg-type]  # one of the two
    assert cache.put("a" * 32, [batch], batch.schema)
    return cache, cache.files.unit("a" * 32)


def wide(rows: int, first: int = 0) -> pa.RecordBatch:
    """Rows of 100 kB in two forms, and a number."""
    values = pa.array(np.tile(DATA, 1 + rows * 100_000 // len(DATA))[: rows * 100_000])
    fixed = pa.FixedSizeListArray.from_arrays(values, 100_000)
    varying = pa.array([bytes(DATA[at : at + 90_000 + at]) for at in range(rows)], pa.large_binary())
    nested = pa.StructArray.from_arrays([varying, pa.array(range(rows))], names=["pixels", "height"])
    return pa.record_batch({"fixed": fixed, "nested": nested, "at": pa.array(range(rows))}).slice(first)


@pytest.mark.parametrize("first", [0, 7])
def test_a_guard_looks_at_what_a_row_lies_in(tmp_path: object, first: int) -> None:
    _, path = opened(wide(40, first), str(tmp_path))
    rows, found = 40 - first, []
    for row in range(rows):
        unit = open_unit(path)
        assert unit is not None
        made = guarded(unit, unit.check)
        assert made is not None and made[1] is not None and not made[1].done
        before = sum(unit.check._right)
        assert made[1].right(row)
        found.append(sum(unit.check._right) - before)
        (batch,), guard = made
        assert batch.equals(wide(40, first))
    assert max(found) <= 4 and sum(found) > rows  # of about 30 blocks
    assert all(guard.right(row) for row in range(rows)) and guard.done


def test_a_flipped_bit_anywhere_is_found_by_the_opening_or_by_a_rows_guard(tmp_path: object) -> None:
    _, path = opened(wide(20), str(tmp_path))
    with open(path, "rb") as file:
        data = bytearray(file.read())
    rng = np.random.default_rng(1)
    unit = open_unit(path)
    assert unit is not None
    for at in rng.integers(0, unit.info.nbytes, 40).tolist():
        data[at] ^= 16
        with open(path, "r+b") as file:
            file.write(data)
        unit = open_unit(path)
        assert unit is not None
        made = guarded(unit, unit.check)
        assert made is None or made[1] is None or not all(made[1].right(row) for row in range(20))
        data[at] ^= 16


@pytest.mark.parametrize("case", ["narrow", "packed"])
def test_what_has_no_wide_rows_or_is_compressed_is_looked_at_when_it_is_opened(tmp_path: object, case: str) -> None:
    narrow = pa.record_batch({"x": pa.array(np.arange(500_000))})
    cache, path = opened(narrow if case == "narrow" else wide(40), str(tmp_path), "lz4" if case == "packed" else None)
    unit = open_unit(path)
    assert unit is not None
    made = guarded(unit, unit.check)
    assert made is not None and made[1] is None and unit.check.done
    fresh = Cache(cache.options)
    assert fresh.get_guarded("a" * 32) is not None and fresh.get_guarded("b" * 32) is None
    assert (fresh.counts.hits, fresh.counts.misses) == (1, 0)
