"""From pieces to arrays: the same values by every way, and bad rows with their place."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forebay as fb
from forebay import transforms as T
from forebay.engine.gather import Gatherer
from forebay.formats.errors import DataError
from forebay.loaders.piece import Piece, Scattered
from forebay.loaders.stage_writer import StageWriter, scattered
from forebay.transforms.transform import Rows

ROWS = 40


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    path: Path = tmp_path_factory.mktemp("writer")
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=ROWS), "y": np.arange(ROWS), "s": [str(one) for one in range(ROWS)]})
    pq.write_table(table, path / "t.parquet")
    return fb.scan(str(path / "t.parquet"))


def written(ds: fb.Dataset, piece: Piece) -> tuple[dict[str, np.ndarray], pa.RecordBatch | None]:
    writer = StageWriter(ds.plan(), lambda fragment: f"file-{fragment}")
    out = {name: np.zeros((len(piece.ids), *spec.shape), spec.dtype) for name, spec in writer.specs.items()}
    loose = writer.write(piece, Rows(piece.ids, 0, 0), out)
    return out, loose


CASES = {
    "plain": lambda ds: ds,
    "numbers": lambda ds: ds.select("x", "y"),
    "scaled": lambda ds: ds.apply(T.Standardize(["x"])).fit(),
    "scaled numbers": lambda ds: ds.select("x", "y").apply(T.Standardize(["x"])).fit(),
    "two stages": lambda ds: ds.apply(T.Standardize(["x"]), T.Categorize(["s"]), T.Log1p(["y"])).fit(),
    "all to one column": lambda ds: ds.apply(T.Standardize(["x"])).fit().select("x"),
    "filtered": lambda ds: ds.filter("y >= 0").apply(T.Log1p(["y"])),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_where_they_lie_give_what_a_batch_gives(ds: fb.Dataset, case: str) -> None:
    made = CASES[case](ds)
    plan = made.plan()
    source = pa.Table.from_batches(list(ds.select(*plan.columns).iter_batches())).combine_chunks().to_batches()[0]
    gatherer = Gatherer(plan.source_schema)
    half = ROWS // 2
    gatherer.add(source.slice(0, half))
    gatherer.add(source.slice(half))
    wanted = np.random.default_rng(1).permutation(ROWS)
    ids = wanted.astype(np.uint64)
    scattered_piece = Piece(Scattered(gatherer, wanted // half, wanted % half), ids, slice(0, ROWS))
    whole_piece = Piece(source.take(pa.array(wanted)), ids, slice(0, ROWS))
    (one, loose), (other, other_loose) = written(made, scattered_piece), written(made, whole_piece)
    expected = made.take(wanted)
    for name, values in one.items():
        assert np.array_equal(values, other[name])
        assert np.array_equal(values, expected.column(name).to_numpy(zero_copy_only=False))
    assert (loose is None) == (other_loose is None)
    if loose is not None and other_loose is not None:
        assert loose.equals(other_loose) and loose.column("s").to_pylist() == [str(one) for one in wanted]


def test_a_bad_row_is_named_with_its_file_fragment_and_row(ds: fb.Dataset) -> None:
    made = ds.select("y").apply(T.Cast(["y"], "int8"))
    source = next(iter(ds.map_batches(_larger, version="1", columns=["y"]).select("y").iter_batches()))
    ids = np.arange(ROWS, dtype=np.uint64) + (np.uint64(6) << np.uint64(32))
    with pytest.raises(
        DataError, match=r"file-6: fragment 6, row 13, column .y.: value does not fit int8; prepare the data"
    ):
        written(made, Piece(source, ids, slice(0, ROWS)))


def _larger(batch: pa.RecordBatch) -> pa.RecordBatch:
    values = batch.column("y").to_numpy().copy()
    if len(values):
        values[13] = 300
    return pa.record_batch({"y": values})


def test_places_that_are_no_run_are_copied_to() -> None:
    arrays = {"x": np.zeros((6, 2))}
    out, copy = scattered(slice(1, 3), arrays)
    assert not copy and np.shares_memory(out["x"], arrays["x"]) and out["x"].shape == (2, 2)
    out, copy = scattered(np.array([5, 0, 2]), arrays)
    assert copy and out["x"].shape == (3, 2) and not np.shares_memory(out["x"], arrays["x"])
