"""Fused stages: equal to their transforms one by one, and `run_into` equal to `run`, to the last bit."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay import transforms as T
from forebay.formats.errors import BadRows, SchemaError
from forebay.transforms.columns_stage import ColumnsStage
from forebay.transforms.fuse_columns import fuse
from forebay.transforms.pieces_stage import PiecesStage
from forebay.transforms.stage import PartStage, SlotStage
from forebay.transforms.transform import Rows

SCALE = {"mean": [0.25, 3.0], "std": [1.5, 0.75]}
CHAIN = [
    (T.FillNull(["x", "y"], value=0.5), None),
    (T.ClipOutliers(["x"], bounds=(-1.5, 2.5)), None),
    (T.Log1p(["y"]), None),
    (T.Standardize(["x", "y"]), SCALE),
    (T.Modulo(["i"], 1000), None),
    (T.FillNull(["b"], value=7), None),
    (T.Standardize(["n"]), {"mean": [10.0], "std": [3.0]}),
    (T.Categorize(["s"]), {"vocabulary s": pa.array(["a", "bb"])}),
]


def made(rows: int, seed: int = 0) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)

    def some(values, share=0.2):
        return pa.array(values, mask=rng.random(rows) < share)

    x = rng.normal(size=rows).astype(np.float32)
    x[rng.random(rows) < 0.05] = np.nan
    return pa.RecordBatch.from_pydict(
        {
            "x": some(x),
            "y": some(np.exp(rng.normal(size=rows) * 4)),
            "i": some(rng.integers(-(2**62), 2**62, rows)),
            "b": some(rng.integers(0, 200, rows).astype(np.uint8)),
            "n": some(rng.integers(-100, 100, rows).astype(np.int16)),
            "s": pa.array([[None, "a", "bb", "", "unseen"][k] for k in rng.integers(0, 5, rows)], pa.string()),
            "other": pa.array(np.arange(rows)),
        }
    )


def ids(n: int) -> Rows:
    return Rows(np.arange(n, dtype=np.uint64))


def fused(batch, chain=CHAIN):
    return fuse([one for one, _ in chain], batch.schema, [state for _, state in chain], range(len(chain)))


def one_by_one(batch, chain=CHAIN):
    for at, (one, state) in enumerate(chain):
        batch = one.bind(batch.schema, state, at)(batch, ids(batch.num_rows))
    return batch


def bits(column: pa.Array) -> list:
    """Values that compare equal only if they are the same to the last bit."""
    if isinstance(column, pa.FixedShapeTensorArray):
        return column.to_numpy_ndarray().view(np.uint8).tobytes()
    if pa.types.is_floating(column.type):
        kind = np.uint32 if column.type == pa.float32() else np.uint64
        valid = np.asarray(column.is_valid().to_numpy(zero_copy_only=False))
        values = np.array(column.fill_null(0).to_numpy(zero_copy_only=False)).view(kind)
        return [int(v) if ok else None for v, ok in zip(values, valid, strict=True)]
    return column.to_pylist()


def assert_same(left: pa.RecordBatch, right: pa.RecordBatch) -> None:
    assert left.schema == right.schema
    for name in left.schema.names:
        assert bits(left[name]) == bits(right[name]), name


@pytest.mark.parametrize("rows", [0, 1, 7, 1023, 1024, 1025, 9000])
def test_fused_equals_one_by_one(rows):
    batch = made(rows)
    stage = fused(batch)
    assert isinstance(stage, ColumnsStage) and isinstance(stage, SlotStage)
    assert stage.label == "FillNull+ClipOutliers+Log1p+Standardize+Modulo+FillNull+Standardize+Categorize"
    assert_same(stage.run(batch, ids(rows)), one_by_one(batch))


@given(rows=st.integers(0, 3000), start=st.integers(0, 40), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_slices_of_a_batch_give_what_the_whole_gives(rows, start, seed):
    batch = made(rows + start, seed)
    stage = fused(batch)
    whole = stage.run(batch, ids(batch.num_rows))
    assert_same(stage.run(batch.slice(start), ids(rows)), whole.slice(start))


@given(rows=st.integers(1, 2500), wanted=st.integers(0, 2500), start=st.integers(0, 20), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_run_into_equals_run_row_by_row(rows, wanted, start, seed):
    batch = made(rows + start, seed).slice(start)
    chain = [*CHAIN, (T.FillNull(["i"], value=0), None), (T.Stack(["x", "y"], "dense", dtype="float32"), None)]
    stage = fused(batch, chain)
    whole = stage.run(batch, ids(rows))
    take = np.random.default_rng(seed).integers(0, rows, wanted)
    out = {}
    for name, spec in stage.tensors().items():
        wide = np.zeros((wanted, *spec.shape, 3), spec.dtype)  # a destination that is strided in the first axis
        out[name] = wide[:, 1] if not spec.shape else np.zeros((wanted, 7), spec.dtype)[:, 2 : 2 + spec.shape[0]]
    stage.run_into(batch, ids(wanted), take, out)
    for name, into in out.items():
        column = whole[name]
        if isinstance(column, pa.FixedShapeTensorArray):
            want = column.to_numpy_ndarray()
        else:
            want = column.to_numpy(zero_copy_only=False)  # null becomes NaN
        assert np.array_equal(into, want[take], equal_nan=np.issubdtype(into.dtype, np.floating)), name


def test_run_into_without_take_writes_all_rows_in_order():
    batch = made(2000)
    stage = fused(batch, [CHAIN[0]])
    out = {name: np.zeros(2000, spec.dtype) for name, spec in stage.tensors().items()}
    stage.run_into(batch, ids(2000), None, out)
    assert np.array_equal(out["x"], stage.run(batch, ids(2000))["x"].to_numpy())


@given(rows=st.integers(1, 2500), start=st.integers(0, 20), first=st.integers(0, 1500), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("text", [True, False])
def test_a_part_of_a_batch_is_written_as_a_slice_of_it_is(rows, start, first, seed, text):
    batch = made(rows + start + first, seed).slice(start)
    chain = [
        *CHAIN[: None if text else -1],
        (T.FillNull(["i"], value=0), None),
        (T.Stack(["x", "y"], "dense", dtype="float32"), None),
    ]
    stage = fused(batch, chain)
    assert isinstance(stage, PartStage)
    for _ in range(2):  # the second time the batch is known
        out, wanted = (
            {name: np.zeros((rows, *one.shape), one.dtype) for name, one in stage.tensors().items()} for _ in range(2)
        )
        stage.run_part_into(batch, first, ids(rows), out)
        stage.run_into(batch.slice(first, rows), ids(rows), None, wanted)
        assert all(np.array_equal(out[name], wanted[name], equal_nan=out[name].dtype.kind == "f") for name in wanted)
    stage.run_part_into(batch, 0, ids(0), {name: one[:0] for name, one in out.items()})


def test_nulls_beside_a_part_are_not_its_own():
    batch = pa.RecordBatch.from_pydict({"i": pa.array([1, None, 3, 4, None])})
    stage, out = fused(batch, [(T.Modulo(["i"], 10), None)]), {"i": np.zeros(2, np.int64)}
    stage.run_part_into(batch, 2, ids(2), out)
    assert out["i"].tolist() == [3, 4]
    with pytest.raises(BadRows, match="null, and int64 has no value for it") as caught:
        stage.run_part_into(batch, 3, ids(2), out)
    assert caught.value.rows == [1]


def test_columns_that_no_transform_touches_pass():
    batch = made(50)
    stage = fused(batch)
    assert "other" not in stage.tensors() and "other" not in stage.reads
    assert stage.run(batch, ids(50))["other"].equals(batch["other"])


def test_nulls_that_nothing_fills_stay_nulls():
    batch = made(3000)
    got = fused(batch, [(T.Log1p(["y"]), None), (T.Modulo(["i"], 10), None)]).run(batch, ids(3000))
    assert got["y"].is_null().equals(batch["y"].is_null())
    assert got["i"].is_null().equals(batch["i"].is_null())


def test_null_in_an_integer_column_is_bad_in_a_training_batch():
    batch = pa.RecordBatch.from_pydict({"i": pa.array([1, None, 3, None])})
    stage = fused(batch, [(T.Modulo(["i"], 10), None)])
    with pytest.raises(BadRows, match="null, and int64 has no value for it .fill it with FillNull") as caught:
        stage.run_into(batch, ids(3), np.array([0, 3, 1]), {"i": np.zeros(3, np.int64)})
    assert caught.value.rows == [1, 2] and caught.value.column == "i"


def test_a_column_of_another_type_than_planned_is_refused():
    stage = fused(made(5))
    other = made(5).drop_columns(["x"]).append_column("x", pa.array([1.0] * 5))
    with pytest.raises(SchemaError, match="column 'x' is double; expected float, as planned"):
        stage.run(other, ids(5))


def test_columns_in_another_order_are_found_by_name():
    batch = made(20)
    turned = batch.select(batch.schema.names[::-1])
    stage = fused(batch)
    assert_same(stage.run(turned, ids(20)), stage.run(batch, ids(20)))


def test_an_array_of_another_shape_is_refused():
    batch = made(5)
    stage = fused(batch, [CHAIN[4]])
    with pytest.raises(SchemaError, match=r"the array for column 'i' is float32\[5\]; expected int64\[5\]"):
        stage.run_into(batch, ids(5), None, {"i": np.zeros(5, np.float32)})


def test_row_indices_outside_the_batch_are_refused():
    batch = made(5)
    stage = fused(batch, [CHAIN[4]])
    with pytest.raises(IndexError, match="take names rows 0 to 5; the batch has rows 0 to 4"):
        stage.run_into(batch, ids(2), np.array([0, 5]), {"i": np.zeros(2, np.int64)})


def test_what_does_not_fuse_cuts_the_run_in_pieces():
    batch = made(500)
    chain = [CHAIN[0], (T.FillNull(["s"], value="none"), None), (T.Categorize(["s"]), CHAIN[-1][1])]
    stage = fused(batch, chain)
    assert isinstance(stage, PiecesStage) and isinstance(stage, SlotStage)
    whole = stage.run(batch, ids(500))
    assert_same(whole, one_by_one(batch, chain))
    take = np.array([3, 499, 3, 0])
    out = {name: np.zeros(4, spec.dtype) for name, spec in stage.tensors().items()}
    stage.run_into(batch, ids(4), take, out)
    assert set(out) == {"x", "y", "s"}
    for name, into in out.items():
        assert np.array_equal(into, whole[name].to_numpy()[take])


def test_pieces_that_change_text_give_a_record_batch():
    """A training batch takes text from what the stage returns, so this one must not write past it."""
    batch = pa.RecordBatch.from_pydict({"x": [1.0, 2.0], "s": ["a", None]})
    chain = [(T.FillNull(["s"], value="none"), None), (T.Standardize(["x"]), {"mean": [1.0], "std": [1.0]})]
    stage = fused(batch, chain)
    assert not isinstance(stage, SlotStage) and set(stage.reads) == {"s", "x"}
    assert stage.run(batch, ids(2)).to_pydict() == {"x": [0.0, 1.0], "s": ["a", "none"]}


def test_a_stack_drops_its_columns_and_keeps_their_order():
    batch = made(100)
    stage = fused(batch, [CHAIN[0], (T.Stack(["y", "x"], "dense", dtype="float32"), None)])
    got = stage.run(batch, ids(100))
    assert got.schema.names == ["i", "b", "n", "s", "other", "dense"]
    want = CHAIN[0][0].bind(batch.schema, None, 0)(batch, ids(100))
    assert np.array_equal(got["dense"].to_numpy_ndarray()[:, 0], want["y"].to_numpy().astype(np.float32))
    assert np.array_equal(got["dense"].to_numpy_ndarray()[:, 1], want["x"].to_numpy())


def test_a_column_may_be_used_again_after_it_was_stacked_and_kept():
    batch = made(100)
    chain = [CHAIN[0], (T.Stack(["x"], "before", keep=True), None), (T.Log1p(["y"]), None)]
    stage = fused(batch, chain)
    assert_same(stage.run(batch, ids(100)), one_by_one(batch, chain))
