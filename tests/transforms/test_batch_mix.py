import numpy as np
import pyarrow as pa
import pytest

from forebay import transforms as T
from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.batch_mix import BatchTransform
from forebay.transforms.stage import TensorSpec
from forebay.transforms.transform import Rows

N = 16
ROWS = Rows(np.arange(N, dtype=np.uint64) + np.uint64(100), seed=4, epoch=1)


def batch(dtype=np.float32, shape=(3, 20, 24)):
    rng = np.random.default_rng(0)
    images = (rng.random((N, *shape)) * 255).astype(dtype)
    return {"image": images, "label": np.arange(N) % 4}


def mixed(op, out, rows=ROWS):
    out = {name: array.copy() for name, array in out.items()}
    out.update(op.apply_batch(out, rows, 7))
    return out


def test_mixup_blends_each_row_with_the_one_before_it():
    before = batch()
    after = mixed(T.MixUp(5), before)
    assert isinstance(T.MixUp(5), BatchTransform) and isinstance(T.CutMix(5), BatchTransform)
    for row in range(N):
        own, other = before["label"][row], before["label"][row - 1]
        ratio = after["label"][row, own]
        expected = ratio * before["image"][row] + (1 - ratio) * before["image"][row - 1]
        assert np.abs(after["image"][row] - expected).max() < 1e-3
        assert after["label"][row, other] == pytest.approx(1 - ratio) and after["label"][row].sum() == pytest.approx(1)
    assert after["label"].dtype == np.float32


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_cutmix_pastes_a_rectangle_and_the_label_says_how_much(layout):
    before = batch(np.uint8, (3, 20, 24) if layout == "CHW" else (20, 24, 3))
    after = mixed(T.CutMix(5, layout=layout), before)
    channel = 1 if layout == "CHW" else 3
    for row in range(N):
        same_as_own = (after["image"][row] == before["image"][row]).all(axis=channel - 1)
        pasted = (after["image"][row] == before["image"][row - 1]).all(axis=channel - 1)
        assert (same_as_own | pasted).all()
        ratio = after["label"][row, before["label"][row]]
        assert (~same_as_own).mean() == pytest.approx(1 - ratio, abs=0.02)
        ys, xs = np.flatnonzero((~same_as_own).any(1)), np.flatnonzero((~same_as_own).any(0))
        if len(ys):
            assert pasted[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].all()
    assert after["label"].sum(axis=1) == pytest.approx(np.ones(N))


def test_a_row_mixes_by_its_own_ratio_in_any_batch():
    before = batch()
    whole = mixed(T.MixUp(5), before)
    part = {name: array[5:9] for name, array in before.items()}
    found = mixed(T.MixUp(5), part, Rows(ROWS.ids[5:9], 4, 1))
    assert np.array_equal(found["image"][1:], whole["image"][6:9])
    assert np.array_equal(found["label"][1:], whole["label"][6:9])
    other = mixed(T.MixUp(5), before, Rows(ROWS.ids, 4, 2))
    assert not np.array_equal(other["label"], whole["label"])


def test_ratios_are_beta_distributed_and_p_leaves_rows_alone():
    from forebay.transforms.batch_mix import _ratios

    rows = Rows(np.arange(40_000, dtype=np.uint64), 0, 0)
    for alpha in (0.2, 1.0):
        ratio = _ratios(T.MixUp(5, alpha=alpha), rows, 3).astype(np.float64)
        assert ratio.mean() == pytest.approx(0.5, abs=0.01)
        assert ratio.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)
    some = _ratios(T.MixUp(5, p=0.25), rows, 3)
    assert (some < 1).mean() == pytest.approx(0.25, abs=0.01)


def test_a_second_mix_takes_soft_labels():
    before = batch()
    once = mixed(T.MixUp(5), before)
    twice = mixed(T.CutMix(5), once)
    assert twice["label"].shape == (N, 5) and twice["label"].sum(axis=1) == pytest.approx(np.ones(N))


def test_uint8_is_rounded_and_bfloat16_refused():
    before = batch(np.uint8)
    after = mixed(T.MixUp(5), before)
    ratio = after["label"][3, before["label"][3]]
    exact = ratio * before["image"][3].astype(np.float32) + (1 - ratio) * before["image"][2]
    assert np.abs(after["image"][3] - exact).max() <= 0.51
    with pytest.raises(SpecError, match="is uint16, which cannot be blended; use dtype='float32'"):
        mixed(T.MixUp(5), batch(np.uint16))


def test_one_row_and_no_row():
    for n in (0, 1):
        part = {name: array[:n] for name, array in batch().items()}
        for op in (T.MixUp(5), T.CutMix(5)):
            after = mixed(op, part, Rows(ROWS.ids[:n]))
            assert np.allclose(after["image"], part["image"]) and after["label"].shape == (n, 5)


def test_schema_specs_and_messages():
    image = pa.fixed_shape_tensor(pa.float32(), (3, 4, 4))
    schema = pa.schema([("image", image), ("label", pa.int64()), ("note", pa.string())])
    soft = pa.fixed_shape_tensor(pa.float32(), (5,))
    assert T.MixUp(5).output_schema(schema).field("label").type == soft
    assert T.CutMix(5).output_schema(T.MixUp(5).output_schema(schema)).field("label").type == soft
    specs = {"image": TensorSpec((3, 4, 4), np.dtype(np.float32)), "label": TensorSpec((), np.dtype(np.int64))}
    assert T.MixUp(5).batch_tensors(specs)["label"] == TensorSpec((5,), np.dtype(np.float32))
    with pytest.raises(SchemaError, match="no column 'class'; the columns are image, label, note"):
        T.MixUp(5, label="class").output_schema(schema)
    with pytest.raises(SchemaError, match="column 'label' is int64; expected images of one size"):
        T.MixUp(5, column="label").output_schema(schema)
    with pytest.raises(SchemaError, match="column 'note' is string; expected integers"):
        T.CutMix(5, label="note").output_schema(schema)
    with pytest.raises(SpecError, match="so only a loader can run it"):
        T.MixUp(5).bind(schema, None, 0)
    for make, message in (
        (lambda: T.MixUp(1), "classes is 1; expected the number of classes, 2 or more"),
        (lambda: T.MixUp(5, alpha=2), "alpha is 2; expected a number above 0, at most 1"),
        (lambda: T.CutMix(5, p=2), "CutMix: p is 2; expected a probability"),
        (lambda: T.CutMix(5, layout="NHWC"), "layout is 'NHWC'"),
    ):
        with pytest.raises(SpecError, match=message):
            make()
    with pytest.raises(SpecError, match="has labels 0 to 3; expected 0 to 2, since classes is 3"):
        mixed(T.MixUp(3), batch())
