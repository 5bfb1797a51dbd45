"""ShiftTokens, MaskTokens, DropTokens, SpanCorrupt."""

import numpy as np
import pyarrow as pa
import pytest
from support.learning import apply, ids

from forebay import transforms as T
from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms.fuse_tokens import fuse
from forebay.transforms.stage import SlotStage
from forebay.transforms.transform import Rows

KINDS = ["uint8", "uint16", "int16", "int32", "uint32", "int64"]


def rows_of(length, n, kind="uint16", high=100):
    values = pa.array(np.random.default_rng(9).integers(0, high, n * length), kind)
    return pa.RecordBatch.from_arrays([pa.FixedSizeListArray.from_arrays(values, length)], ["tokens"])


def matrix(batch):
    return np.array(batch["tokens"].to_pylist())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [0, 3])
def test_inputs_and_labels_are_the_row_without_its_last_and_first_token(kind, start):
    batch = rows_of(9, 20, kind).slice(start)
    want = matrix(batch)
    got = apply(T.ShiftTokens("tokens"), batch)
    assert np.array_equal(got["input_ids"].to_numpy_ndarray(), want[:, :-1])
    assert np.array_equal(got["labels"].to_numpy_ndarray(), want[:, 1:])


@pytest.mark.parametrize("kind", KINDS)
def test_run_into_gathers_rows_into_strided_arrays(kind, rng):
    batch = rows_of(33, 50, kind).slice(7)
    stage = fuse([T.ShiftTokens("tokens", inputs="x", labels="y")], batch.schema, [None], [0])
    assert isinstance(stage, SlotStage) and {k: v.shape for k, v in stage.tensors().items()} == {"x": (32,), "y": (32,)}
    take = rng.integers(0, batch.num_rows, 12)
    both = np.full((12, 2, 40), -1)
    stage.run_into(batch, ids(12), take, {"x": both[:, 0, :32], "y": both[:, 1, 3:35]})
    want = matrix(batch)[take]
    assert np.array_equal(both[:, 0, :32], want[:, :-1]) and np.array_equal(both[:, 1, 3:35], want[:, 1:])
    assert (both[:, 0, 32:] == -1).all() and (both[:, 1, :3] == -1).all()


def test_an_empty_batch_and_a_tensor_column_pass():
    assert apply(T.ShiftTokens("tokens"), rows_of(9, 0)).num_rows == 0
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(10, dtype=np.int32).reshape(2, 5))
    got = apply(T.ShiftTokens("tokens"), pa.RecordBatch.from_arrays([tensor], ["tokens"]))
    assert got["labels"].to_numpy_ndarray().tolist() == [[1, 2, 3, 4], [6, 7, 8, 9]]


def test_what_is_no_row_of_tokens_is_refused():
    with pytest.raises(
        SchemaError, match="column 'tokens' is list<item: int64>; expected rows of a fixed number of tokens"
    ):
        T.ShiftTokens("tokens").output_schema(pa.schema([("tokens", pa.list_(pa.int64()))]))
    with pytest.raises(SchemaError, match="rows of 'tokens' have 1 tokens; expected 2 or more"):
        T.ShiftTokens("tokens").output_schema(pa.schema([("tokens", pa.list_(pa.int64(), 1))]))
    with pytest.raises(SpecError, match="expected two different names"):
        T.ShiftTokens("tokens", inputs="x", labels="x")
    null = pa.RecordBatch.from_arrays([pa.array([[1, 2], None], pa.list_(pa.int64(), 2))], ["tokens"])
    with pytest.raises(BadRows, match="null instead of tokens") as caught:
        apply(T.ShiftTokens("tokens"), null)
    assert caught.value.rows == [1]
    stage = fuse([T.ShiftTokens("tokens")], rows_of(4, 2).schema, [None], [0])
    out = {"input_ids": np.zeros((1, 3), np.int64), "labels": np.zeros((1, 3), np.int64)}
    with pytest.raises(IndexError, match="take names rows 2 to 2; the batch has rows 0 to 1"):
        stage.run_into(rows_of(4, 2), ids(1), np.array([2]), out)


MASK = T.MaskTokens("tokens", 103, vocabulary=100, special=(0, 1))


def test_masking_follows_berts_shares():
    batch = rows_of(64, 2000)
    before = matrix(batch)
    got = apply(MASK, batch)
    x, y = got["input_ids"].to_numpy_ndarray(), got["labels"].to_numpy_ndarray()
    chosen = y != -100
    assert np.array_equal(y[chosen], before[chosen]) and np.array_equal(x[~chosen], before[~chosen])
    assert not chosen[before < 2].any()
    assert chosen[before >= 2].mean() == pytest.approx(0.15, abs=0.005)
    masked, same = (x == 103) & chosen, (x == before) & chosen
    assert masked.sum() / chosen.sum() == pytest.approx(0.8, abs=0.01)
    assert same.sum() / chosen.sum() == pytest.approx(0.1 + 0.1 / 100, abs=0.01)
    drawn = x[chosen & ~masked & ~same]
    assert drawn.min() == 0 and drawn.max() == 99


def ragged() -> pa.RecordBatch:
    rng = np.random.default_rng(9)
    rows = [rng.integers(0, 50, n).tolist() for n in rng.integers(0, 60, 400)]
    return pa.RecordBatch.from_pydict({"tokens": pa.array([*rows, None], pa.list_(pa.int32()))})


RAGGED = ragged()


def test_dropping_keeps_order_and_one_token():
    got = apply(T.DropTokens("tokens", 0.3), RAGGED)["tokens"].to_pylist()
    before = [row or [] for row in RAGGED["tokens"].to_pylist()]
    assert sum(map(len, got)) / sum(map(len, before)) == pytest.approx(0.7, abs=0.02)
    for kept, row in zip(got, before, strict=True):
        rest = iter(row)
        assert all(token in rest for token in kept) and bool(kept) == bool(row)


def test_spans_become_sentinels_and_targets_restore_the_row():
    one = T.SpanCorrupt("tokens", 999)
    got = apply(one, RAGGED)
    for row, x, y in zip(
        *(RAGGED["tokens"].to_pylist(), *(got[k].to_pylist() for k in ("input_ids", "labels"))), strict=True
    ):
        row = row or []
        spans: dict = {}
        for token in y:
            if token > 900:
                spans[token] = []
            else:
                spans[max(spans) if not spans else min(spans)].append(token)
        restored = [t for token in x for t in (spans[token] if token > 900 else [token])]
        assert restored == row
        if len(row) < 2:
            assert y == []
            continue
        noise = min(max(round(len(row) * 0.15), 1), len(row) - 1)
        assert sum(map(len, spans.values())) == noise
        assert list(spans) == list(range(999, 999 - len(spans), -1)) and all(spans.values())
        assert len(spans) == max(round(noise / 3), 1) and x[0] < 900


@pytest.mark.parametrize("one", [MASK, T.DropTokens("tokens", 0.2), T.SpanCorrupt("tokens", 999)])
def test_a_sample_is_augmented_alike_in_any_batch_and_anew_in_each_epoch(one, rng):
    batch = rows_of(40, 300) if one is MASK else RAGGED
    whole = apply(one, batch, rows=ids(batch.num_rows, seed=5), op=3)
    index = rng.permutation(batch.num_rows)[:50]
    part = apply(one, batch.take(pa.array(index)), rows=Rows(index.astype(np.uint64), 5), op=3)
    for name in whole.schema.names:
        assert part[name].to_pylist() == whole.take(pa.array(index))[name].to_pylist()
    for other in (ids(batch.num_rows, seed=6), ids(batch.num_rows, seed=5, epoch=1)):
        assert not apply(one, batch, rows=other, op=3).equals(whole)
    assert not apply(one, batch, rows=ids(batch.num_rows, seed=5), op=4).equals(whole)


def test_a_chain_of_token_transforms_is_one_stage():
    batch = rows_of(40, 30)
    stage = fuse([T.DropTokens("tokens", 0.2), T.SpanCorrupt("tokens", 999)], batch.schema, [None, None], [0, 1])
    assert stage.label == "DropTokens+SpanCorrupt" and stage.reads == ("tokens",)
    by_hand = apply(T.SpanCorrupt("tokens", 999), apply(T.DropTokens("tokens", 0.2), batch, op=0), op=1)
    assert stage.run(batch, ids(30)).equals(by_hand)
    masked = fuse([MASK], batch.schema, [None], [0])
    take = np.array([5, 5, 29])
    out = {name: np.zeros((3, *spec.shape), spec.dtype) for name, spec in masked.tensors().items()}
    masked.run_into(batch, Rows(take.astype(np.uint64)), take, out)
    whole = masked.run(batch, ids(30))
    for name in ("input_ids", "labels"):
        assert np.array_equal(out[name], whole[name].to_numpy_ndarray()[take])
