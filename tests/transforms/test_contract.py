"""What every transform of the catalog promises, whatever it does."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from support.learning import apply, batch_of, ids, learn
from support.tokenizers_made import byte_level_bpe
from support.user_kernels import ratio

from forebay import transforms as T
from forebay.transforms import catalog
from forebay.transforms.fit import load, save_state
from forebay.transforms.transform import Accumulator, Fitted, Transform

N = 2500


def table() -> pa.RecordBatch:
    rng = np.random.default_rng(12)

    def holed(values, type=None):
        return pa.array(values, type, mask=rng.random(N) < 0.15)

    tokens = pa.FixedSizeListArray.from_arrays(pa.array(rng.integers(0, 99, N * 9).astype(np.uint16)), 9)
    return pa.RecordBatch.from_pydict(
        {
            "x": holed(rng.normal(size=N).astype(np.float32)),
            "y": pa.array(rng.gamma(2, 2, N)),
            "i": holed(rng.integers(-50, 50, N)),
            "k": pa.array(rng.integers(0, 7, N)),
            "s": holed(rng.choice(["a", " b", "", "é"], N)),
            "t": pa.array(rng.integers(0, 2**31, N), pa.timestamp("s")),
            "tokens": tokens,
        }
    )


TABLE = table()
SPECS = [
    T.FillNull(["x", "i"], value=0),
    T.FillNull(["x", "i"], strategy="mean"),
    T.FillNull(["x"], strategy="median"),
    T.FillNull(["s", "i"], strategy="mode"),
    T.FillForward(["x", "s"], by=["k"]),
    T.DropNulls(["x", "s"]),
    T.ClipOutliers(["x", "i"], quantiles=(0.05, 0.9)),
    T.ClipOutliers(["y"], iqr=1.5),
    T.DropOutliers(["x", "y"], zscore=1.0),
    T.DropDuplicates(["s", "k"]),
    T.Cast(["i"], "float32"),
    T.Cast(["y"], "int8", overflow="clip"),
    T.ReplaceValues(["i", "k"], {3: 4}),
    T.ReplaceValues(["s"], {"a": None}),
    T.ValidateRange(["x"], low=-100),
    T.TrimText(["s"], inner=True),
    T.NormalizeUnicode(["s"], form="NFKD"),
    T.FixText(["s"]),
    T.Standardize(["x", "i"]),
    T.MinMaxScale(["x", "k"], clip=True),
    T.RobustScale(["y"]),
    T.Log1p(["y", "k"]),
    T.PowerTransform(["x", "y"]),
    T.QuantileTransform(["x", "y"], output="normal"),
    T.NormalizeRows(["y", "k"]),
    T.Modulo(["i", "x"], 5),
    T.Bucketize(["x", "i"], (0, 1, 2)),
    T.Categorize(["s", "k"], min_count=2),
    T.HashCategory(["s", "i"], 100),
    T.OneHot("s", 8),
    T.TargetEncode(["s", "k"], "x"),
    T.TimestampFeatures("t", cyclic=True),
    T.Stack(["x", "y"], "dense", dtype="float32"),
    T.GaussianNoise(["x", "y"], 0.1),
    T.MaskFeatures(["x", "i"], 0.2),
    T.SwapNoise(["x", "s"], 0.2, sample=50),
    T.ShiftTokens("tokens"),
    T.MaskTokens("tokens", 99, vocabulary=99),
    T.DropTokens("tokens", 0.3),
    T.SpanCorrupt("tokens", 500),
    T.Tokenize("s", tokenizer=byte_level_bpe(special=True).to_str()),
]


def label(one) -> str:
    return type(one).__name__


def same(left, right) -> bool:
    if isinstance(left, pa.Array):
        return left.equals(right)
    return repr(left) == repr(right)


def state_of(one, fragment=1000):
    return learn(one, TABLE, fragment) if one.fitted else None


@pytest.mark.parametrize("one", [*SPECS, ratio], ids=label)
def test_it_satisfies_the_protocols_and_is_a_value(one):
    assert isinstance(one, Transform)
    assert catalog.from_json(catalog.to_json(one)) == one
    assert type(one) is catalog.load(label(one)) and hash(one) == hash(one)
    if one is not ratio:
        assert pickle.loads(pickle.dumps(one)) == one
    if one.fitted:
        assert isinstance(one, Fitted)
        schema = pa.schema([TABLE.schema.field(name) for name in one.reads(TABLE.schema)])
        assert isinstance(one.accumulator(schema), Accumulator)


@pytest.mark.parametrize("one", SPECS, ids=label)
def test_rows_are_the_same_in_any_batch(one):
    state = state_of(one)
    whole = apply(one, TABLE, state)
    parts = []
    for start in range(0, N, 700):
        piece = TABLE.slice(start, 700)
        parts.append(apply(one, piece, state, ids(piece.num_rows, start)))
    merged = pa.Table.from_batches(parts).combine_chunks()
    left, right = merged.to_pylist(), pa.Table.from_batches([whole]).to_pylist()
    assert repr(left) == repr(right)


@pytest.mark.parametrize("one", SPECS, ids=label)
def test_an_empty_batch_and_a_single_row_pass(one):
    state = state_of(one)
    for rows in (0, 1):
        made = apply(one, TABLE.slice(3, rows), state, ids(rows, 3))
        assert made.num_rows <= rows and made.schema.names == one.output_schema(TABLE.schema).names


@pytest.mark.parametrize("one", [one for one in SPECS if one.fitted], ids=label)
def test_the_state_is_the_same_every_time_and_survives_its_file(one, tmp_path):
    first, second = state_of(one), state_of(one)
    assert list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    save_state([one], [first], TABLE.schema, str(tmp_path / "state"))
    again = load(tmp_path / "state")
    assert again.transforms == (one,)
    assert apply(one, TABLE, again.states[0]).equals(apply(one, TABLE, first))


@pytest.mark.parametrize("one", [one for one in SPECS if one.fitted], ids=label)
def test_nothing_to_learn_from_is_no_accident(one):
    schema = pa.schema([TABLE.schema.field(name) for name in one.reads(TABLE.schema)])
    assert isinstance(one.accumulator(schema).finish(), dict)


def test_saved_transforms_serve_without_the_engine(tmp_path, rng):
    batch = batch_of(x=rng.normal(size=500), s=rng.choice(["a", "b"], 500))
    chain = [T.Standardize(["x"]), T.Categorize(["s"]), T.GaussianNoise(["x"], 1.0), T.DropDuplicates(["s"])]
    states = [learn(chain[0], batch), learn(chain[1], batch), None, learn(chain[3], batch)]
    save_state(chain, states, batch.schema, str(tmp_path))
    served = load(tmp_path).transform(batch.slice(10, 20))
    want = apply(chain[1], apply(chain[0], batch, states[0]), states[1]).slice(10, 20)
    assert served.equals(want)  # no noise, no filter: every row wants its answer
