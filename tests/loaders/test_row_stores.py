"""What every `RowStore` promises: the rows of an order, whichever of them are asked for in which order, with their ids."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import tables

import forebay as fb
from forebay.engine.epoch_order import EpochOrder, OrderSpec, epoch_order
from forebay.formats.errors import DataError
from forebay.loaders.decoded_rows import DecodedRows
from forebay.loaders.mapped_rows import MappedFiles, MappedRows
from forebay.loaders.piece import RowStore, consecutive, row_ids, runs_of

ROWS = 900


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, fb.Dataset]:
    path: Path = tmp_path_factory.mktemp("stores")
    raw = fb.scan(str(tables.write_parquet(path / "raw", rows=300, group=70))).select("row", "s", "x")
    raw.write(str(path / "arrow"), format="arrow", max_rows=130)
    return {"arrow": fb.scan(str(path / "arrow")), "parquet": raw}


CASES = [
    ("arrow", "none", True),
    ("arrow", "global", True),
    ("arrow", "window", False),
    ("parquet", "none", False),
    ("parquet", "window", False),
]


def made(ds: fb.Dataset, shuffle: Any, mapped: bool) -> tuple[RowStore, EpochOrder]:
    order = epoch_order(ds.selection, OrderSpec(shuffle=shuffle, window_rows=200, lanes=3), 1, mapped=mapped)
    plan = ds.plan()
    if mapped:
        return MappedRows(MappedFiles(ds.source, plan), order), order
    return DecodedRows(ds.source, plan, order, threads=2, share=(0, 1)), order


def taken(store: RowStore, positions: NDArray[np.int64], floor: int, pool: Any) -> tuple[list[int], NDArray[np.uint64]]:
    """(`row` of each position, its id), put where the pieces say."""
    found, ids = [-1] * len(positions), np.zeros(len(positions), np.uint64)
    for piece in store.pieces(positions, store.schedule(positions, floor, pool)):
        places = np.arange(len(positions))[piece.places]
        batch = piece.batch()
        assert batch.num_rows == len(piece.ids) == len(places)
        for place, row in zip(places.tolist(), batch.column("row").to_pylist(), strict=True):
            found[place] = row
        ids[places] = piece.ids
    return found, ids


def expected(ds: fb.Dataset, order: EpochOrder, positions: NDArray[np.int64]) -> tuple[list[int], NDArray[np.uint64]]:
    fragments, rows = order.locate(positions)
    lying = order.source_positions(positions)
    return ds.select("row").take(lying).column(0).to_pylist(), row_ids(fragments, rows)


@pytest.mark.parametrize(("format", "shuffle", "mapped"), CASES)
@pytest.mark.parametrize("expression", ["row >= 0", "row % 3 != 1"])
@pytest.mark.parametrize("threads", [0, 2])
def test_an_epoch_in_chunks(
    sets: dict[str, fb.Dataset], format: str, shuffle: str, mapped: bool, expression: str, threads: int
) -> None:
    ds = sets[format].filter(expression)
    store, order = made(ds, shuffle, mapped)
    pool = ThreadPoolExecutor(threads) if threads else None
    for start in range(0, order.rows, 64):
        positions = np.arange(start, min(start + 64, order.rows))
        (rows, ids), (want, want_ids) = taken(store, positions, start, pool), expected(ds, order, positions)
        assert rows == want and np.array_equal(ids, want_ids)
    if pool:
        pool.shutdown()


@pytest.mark.parametrize(("format", "shuffle", "mapped"), CASES)
def test_positions_in_any_order(sets: dict[str, fb.Dataset], format: str, shuffle: str, mapped: bool) -> None:
    ds = sets[format]
    store, order = made(ds, shuffle, mapped)
    rng = np.random.default_rng(0)
    lines = [
        [5, 9, 7],
        [2, 1, 0],
        [8, 3, 12, 11],
        [0],
        [ROWS - 1, 0],
        rng.permutation(ROWS).tolist(),
    ]  # 5, 9, 7: its ends
    for line in lines:  # are as far apart as those of 5, 6, 7
        positions = np.array(line, np.int64)
        (rows, ids), (want, want_ids) = taken(store, positions, 0, None), expected(ds, order, positions)
        assert rows == want and np.array_equal(ids, want_ids)


def test_an_iteration_may_begin_anywhere(sets: dict[str, fb.Dataset]) -> None:
    for format, shuffle, mapped in CASES:
        store, order = made(sets[format], shuffle, mapped)
        positions = np.arange(777, 800)
        assert taken(store, positions, 777, None)[0] == expected(sets[format], order, positions)[0]


def test_few_files_are_mapped_at_a_time_and_rows_that_are_held_stay(sets: dict[str, fb.Dataset]) -> None:
    ds = sets["arrow"]
    files = MappedFiles(ds.source, ds.plan(), files_held=2)
    order = epoch_order(ds.selection, OrderSpec(), 0, mapped=True)
    store = MappedRows(files, order)
    held = [next(iter(store.pieces(np.arange(start, start + 20), None))) for start in range(0, ROWS - 100, 130)]
    assert files._opened.files <= 2
    rows = [piece.batch().column("row").to_pylist() for piece in held]
    assert rows == [list(range(start, start + 20)) for start in range(0, ROWS - 100, 130)]


def test_a_file_that_has_changed_is_named(tmp_path: Path) -> None:
    raw = fb.scan(str(tables.write_parquet(tmp_path / "raw", files=1, rows=300))).select("row")
    raw.write(str(tmp_path / "one"), format="arrow")
    raw.filter("row < 100").write(str(tmp_path / "other"), format="arrow")
    ds = fb.scan(str(next((tmp_path / "one").glob("*.arrow"))))
    assert len(ds) == 300
    Path(ds.source.paths[0]).write_bytes(next((tmp_path / "other").glob("*.arrow")).read_bytes())
    with pytest.raises(DataError, match=r"record batch 0 has 100 rows, .*the file has changed since"):
        list(fb.DataLoader(ds, 10))


def test_runs_and_neighbours() -> None:
    assert runs_of(np.array([3, 3, 1, 1, 1, 3])) == [(0, 2), (2, 5), (5, 6)] and runs_of(np.array([], np.int64)) == []
    assert consecutive(np.array([4])) and consecutive(np.array([4, 5, 6]))
    for values in ([], [5, 9, 7], [6, 5, 4], [4, 6]):
        assert not consecutive(np.array(values, np.int64))
