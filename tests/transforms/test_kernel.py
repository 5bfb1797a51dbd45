"""The user's own kernels."""

import numpy as np
import pyarrow as pa
import pytest
from support.learning import apply, ids
from support.user_kernels import ratio

from forebay import transforms as T
from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms import catalog
from forebay.transforms.fuse_columns import fuse
from forebay.transforms.kernel import Kernel, kernel
from forebay.transforms.stage import SlotStage


def table() -> pa.RecordBatch:
    rng = np.random.default_rng(11)
    return pa.RecordBatch.from_pydict({"x": rng.normal(size=3000), "y": rng.integers(0, 9, 3000), "z": np.arange(3000)})


BATCH = table()


def test_a_kernel_writes_its_outputs_and_leaves_the_rest():
    got = apply(ratio, BATCH)
    assert got.schema.names == ["x", "y", "z", "ratio"]
    x, y = BATCH["x"].to_numpy(), BATCH["y"].to_numpy()
    assert np.array_equal(got["ratio"].to_numpy(), (x / (1.0 + y)).astype(np.float32))
    assert np.array_equal(got["x"].to_numpy(), 2 * x) and got["z"].equals(BATCH["z"])


def test_a_kernel_is_found_again_by_its_name():
    again = catalog.from_json(catalog.to_json(ratio))
    assert again == ratio and again.callable is None
    assert apply(again, BATCH).equals(apply(ratio, BATCH))


def test_a_kernel_and_its_neighbours_are_one_stage_that_writes_into_the_batch(rng):
    chain = [T.Modulo(["y"], 5), ratio, T.ClipOutliers(["ratio"], bounds=(-1, 1)), T.Log1p(["z"])]
    stage = fuse(chain, BATCH.schema, [None] * 4, range(4))
    assert isinstance(stage, SlotStage) and stage.label == "Modulo+Kernel(ratio)+ClipOutliers+Log1p"
    whole = stage.run(BATCH, ids(3000))
    by_hand = BATCH
    for at, one in enumerate(chain):
        by_hand = apply(one, by_hand, op=at)
    assert whole.equals(by_hand)
    take = rng.integers(0, 3000, 100)
    out = {name: np.zeros(100, spec.dtype) for name, spec in stage.tensors().items()}
    stage.run_into(BATCH, ids(100), take, out)
    assert set(out) == {"x", "y", "z", "ratio"}
    for name, into in out.items():
        assert np.array_equal(into, whole[name].to_numpy()[take])


def test_an_empty_batch_passes():
    assert apply(ratio, BATCH.slice(0, 0)).num_rows == 0


def test_null_becomes_nan_and_is_refused_in_integers():
    holed = pa.RecordBatch.from_pydict({"x": pa.array([1.0, None]), "y": pa.array([1, 1])})
    assert np.isnan(apply(ratio, holed)["ratio"].to_numpy()).tolist() == [False, True]
    bad = pa.RecordBatch.from_pydict({"x": pa.array([1.0, 2.0]), "y": pa.array([1, None])})
    with pytest.raises(BadRows, match="null, and int64 has no value for it") as caught:
        apply(ratio, bad)
    assert caught.value.rows == [1]


def test_declarations_are_checked():
    with pytest.raises(SpecError, match="output 'o' is 'text'; expected a number"):
        kernel(columns=["x"], outputs={"o": "text"}, version="1")(lambda x, o: None)
    with pytest.raises(SpecError, match="expected columns, outputs and a version"):
        Kernel("a:b", columns=(), outputs=(), version="1")
    with pytest.raises(SpecError, match="kernel 'nowhere:f' cannot be imported"):
        Kernel("nowhere:f", columns=("x",), outputs=(("o", "int64"),), version="1").compiled()
    with pytest.raises(SchemaError, match="column 'x' is string; expected a number"):
        ratio.output_schema(pa.schema([("x", pa.string()), ("y", pa.int64())]))
