"""Random chains on dense columns against numpy, with nulls that stand in some blocks only."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay import transforms as T
from forebay.transforms.fuse_columns import fuse
from forebay.transforms.kernels.columns import BLOCK, TILE
from forebay.transforms.transform import Rows

STEPS = st.lists(st.sampled_from(["fill", "clip", "scale", "check", "wide", "narrow"]), max_size=6)


def step(name, x, null):
    """The transform, its state, and what numpy makes of values and nulls."""
    if name == "fill":
        return T.FillNull(["x"], value=2), None, np.where(null, 2, x).astype(x.dtype), np.zeros_like(null)
    if name == "clip":
        return T.ClipOutliers(["x"], bounds=(-3, 4)), None, np.clip(x, -3, 4), null
    if name == "scale":
        after = x.dtype if x.dtype.kind == "f" else np.float32
        return T.Standardize(["x"]), {"mean": [1.5], "std": [0.5]}, ((x.astype(float) - 1.5) * 2).astype(after), null
    if name == "check":
        return T.ValidateRange("x", low=-1e9, high=1e9), None, x, null
    kind = "float64" if name == "wide" else "float32"
    return T.Cast(["x"], kind), None, x.astype(kind), null


@given(
    STEPS,
    st.sampled_from(["int16", "int32", "uint32", "int64", "float32", "float64"]),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_a_chain_equals_numpy_and_leaves_its_source_alone(names, kind, block, unaligned):
    rng = np.random.default_rng(len(names) + block)
    x = rng.integers(0, 100, 3000).astype(kind)
    null = np.zeros(3000, bool)
    null[1024 * block : 1024 * (block + 1) : 5] = True
    source, first = x.copy(), x.copy()
    column = pa.array(source, mask=null) if null.any() else pa.array(source)
    batch = pa.RecordBatch.from_arrays([column], ["x"])
    chain, states, schema = [], [], batch.schema
    for name in names:
        one, state, x, null = step(name, x, null)
        chain.append(one), states.append(state)
        schema = one.output_schema(schema)
    if not chain:
        return
    stage = fuse(chain, batch.schema, states, range(len(chain)))
    made = stage.run(batch, Rows(np.arange(3000, dtype=np.uint64)))["x"]
    assert np.array_equal(made.is_null().to_numpy(zero_copy_only=False), null)
    assert np.array_equal(made.fill_null(0).to_numpy()[~null], x[~null])
    assert np.array_equal(source, first)
    if x.dtype.kind == "f" or not null.any():
        wide = np.zeros((3000, 2), x.dtype)
        into = wide[:, 1] if unaligned else np.zeros(3001, x.dtype)[1:]
        stage.run_into(batch, Rows(np.arange(3000, dtype=np.uint64)), None, {"x": into})
        wanted = np.where(null, np.nan, x).astype(x.dtype) if x.dtype.kind == "f" else x
        assert np.array_equal(into, wanted, equal_nan=x.dtype.kind == "f")


@given(
    st.sampled_from(["fill", "clip", "scale", "check", "wide", "narrow"]),
    st.sampled_from(["int32", "int64", "float32", "float64"]),
    st.sampled_from([TILE - 1, TILE, TILE + 1, 2 * TILE + BLOCK + 3]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_a_single_transform_of_whole_tiles_equals_numpy(name, kind, n, gathered):
    rng = np.random.default_rng(n)
    x = rng.integers(-9, 9, n).astype(kind)
    transform, state, wanted, _ = step(name, x, np.zeros(n, bool))
    batch = pa.RecordBatch.from_arrays([pa.array(x)], ["x"])
    stage = fuse([transform], batch.schema, [state], [0])
    out = {"x": np.empty(n, wanted.dtype)}
    take = rng.permutation(n) if gathered else None
    stage.run_into(batch, Rows(np.arange(n, dtype=np.uint64)), take, out)
    assert np.array_equal(out["x"], wanted if take is None else wanted[take])
    assert np.array_equal(stage.run(batch, Rows(np.arange(n, dtype=np.uint64)))["x"].to_numpy(), wanted)
