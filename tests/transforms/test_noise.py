"""Augmentation of tables."""

import numpy as np
import pyarrow as pa
import pytest
from support.learning import apply, ids, learn

from forebay import transforms as T
from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.transform import Rows

N = 5000


def table() -> pa.RecordBatch:
    rng = np.random.default_rng(10)
    x = pa.array(rng.normal(size=N).astype(np.float32), mask=rng.random(N) < 0.1)
    return pa.RecordBatch.from_pydict({"x": x, "y": pa.array(rng.normal(size=N) * 10)})


BATCH = table()
ALL = [T.GaussianNoise(["x", "y"], 0.5), T.MaskFeatures(["x", "y"], 0.3), T.SwapNoise(["x", "y"], 0.2)]


def state_of(one):
    return learn(one, BATCH) if one.fitted else None


@pytest.mark.parametrize("one", ALL)
def test_a_sample_gets_the_same_noise_in_any_batch_and_another_in_the_next_epoch(one, rng):
    state = state_of(one)
    whole = apply(one, BATCH, state, ids(N, seed=1), op=2)
    index = rng.permutation(N)[:200]
    part = apply(one, BATCH.take(pa.array(index)), state, Rows(index.astype(np.uint64), 1), op=2)
    assert part.equals(whole.take(pa.array(index)))
    assert not apply(one, BATCH, state, ids(N, seed=1, epoch=1), op=2).equals(whole)


def test_noise_has_the_deviation_asked_for_and_null_stays_null():
    got = apply(ALL[0], BATCH)
    assert got["x"].is_null().equals(BATCH["x"].is_null())
    assert np.std(got["y"].to_numpy() - BATCH["y"].to_numpy()) == pytest.approx(0.5, rel=0.05)


def test_masking_hits_the_share_asked_for():
    got = apply(ALL[1], BATCH)
    assert np.mean(got["y"].to_numpy() == 0.0) == pytest.approx(0.3, abs=0.03)
    assert got["x"].null_count == BATCH["x"].null_count


def test_swapped_values_come_from_the_same_column_on_any_split_of_the_data():
    got = apply(ALL[2], BATCH, state_of(ALL[2]))
    changed = got["y"].to_numpy() != BATCH["y"].to_numpy()
    assert changed.mean() == pytest.approx(0.2, abs=0.03) and set(got["y"].to_numpy()) <= set(BATCH["y"].to_numpy())
    few = T.SwapNoise(["y"], 0.2, sample=100)
    assert learn(few, BATCH, 7)["sample y"].equals(learn(few, BATCH, 3000)["sample y"])


def test_settings_are_checked():
    with pytest.raises(SpecError, match="std is 0; expected a number above 0"):
        T.GaussianNoise(["x"], 0)
    with pytest.raises(SpecError, match="MaskFeatures: probability is 1.5; expected a number in"):
        T.MaskFeatures(["x"], 1.5)
    with pytest.raises(SpecError, match="sample is 1; expected 2 or more"):
        T.SwapNoise(["x"], 0.5, sample=1)
    with pytest.raises(SchemaError, match="column 'i' is int64; expected float32 or float64"):
        T.GaussianNoise(["i"], 1.0).output_schema(pa.schema([("i", pa.int64())]))
    with pytest.raises(SchemaError, match="value 0.5 does not fit column 'i'"):
        T.MaskFeatures(["i"], 0.1, value=0.5).output_schema(pa.schema([("i", pa.int64())]))
