"""Columns of lists in a batch: padded or packed as an oracle in plain Python does it."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.formats.errors import DataError, SchemaError, SpecError, UnknownNameError
from forebay.loaders.ragged import Packed, Pad, lists_of
from forebay.loaders.ring import Ring

ROWS = st.lists(st.lists(st.integers(0, 1000), max_size=9), min_size=1, max_size=6)


def column(rows: list[list[int]], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
    return np.array([value for row in rows for value in row], dtype), offsets


def laid_out(ragged, columns: dict, number: int = 0) -> dict:
    slot = Ring().take(ragged.nbytes(columns))
    values = ragged.lay_out(columns, slot, number)
    assert slot.used <= len(slot.memory), "nbytes tells the most that lay_out takes"
    return {**{name: one.numpy() for (name, _), one in slot.singles().items()}, **values}


@given(
    rows=ROWS,
    multiple=st.integers(1, 5),
    times=st.one_of(st.none(), st.integers(1, 2)),
    side=st.sampled_from(["left", "right"]),
    dtype=st.sampled_from(["uint8", "int32", "float32", "float64"]),
)
def test_padding_equals_the_oracle(rows, multiple, times, side, dtype) -> None:
    rows = [[value % 200 for value in row] for row in rows]
    most = None if times is None else times * multiple
    pad = Pad(7, multiple=multiple, max_length=most, side=side, mask="mask")
    found = laid_out(pad, {"t": column(rows, dtype)})
    longest = max(len(row) for row in rows)
    length = max(-(-longest // multiple), 1) * multiple
    length = length if most is None else min(length, most)
    expected, mask = [], []
    for row in rows:
        kept = row[:length]
        fill, real = [7] * (length - len(kept)), [1] * len(kept)
        expected.append(fill + kept if side == "left" else kept + fill)
        mask.append([0] * len(fill) + real if side == "left" else real + [0] * len(fill))
    assert found["t"].tolist() == expected and found["t"].dtype == np.dtype(dtype)
    assert found["mask"].tolist() == mask
    assert found["t_length"].tolist() == [min(len(row), length) for row in rows]


def test_each_column_has_its_own_length_and_integers_may_widen() -> None:
    columns = {"a": column([[1, 2, 3], [4]], "uint16"), "b": column([[1], []], "float32")}
    found = laid_out(Pad(dtype="int64"), columns)
    assert found["a"].dtype == np.int64 and found["a"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert found["b"].dtype == np.float32 and found["b"].tolist() == [[1], [0]]


def test_each_column_may_be_filled_with_a_value_of_its_own() -> None:
    columns = {"ids": column([[1, 2], [4]], "int32"), "labels": column([[5, 6], [7]], "int64")}
    found = laid_out(Pad({"labels": -100}), columns)
    assert found["ids"].tolist() == [[1, 2], [4, 0]] and found["labels"].tolist() == [[5, 6], [7, -100]]
    with pytest.raises(UnknownNameError, match="unknown column of lists 'label' in Pad; did you mean labels"):
        Pad({"label": -100}).check({"ids": pa.int32(), "labels": pa.int64()})
    with pytest.raises(SpecError, match="value -100 does not fit column 'ids', whose values are uint16"):
        Pad({"ids": -100}).check({"ids": pa.uint16()})


@given(rows=ROWS, multiple=st.integers(1, 9), power=st.booleans())
def test_packing_equals_the_oracle(rows, multiple, power) -> None:
    packed = Packed("t", multiple=multiple, pad_token=3, max_length="power_of_two" if power else "longest")
    found = laid_out(packed, {"t": column(rows, "uint16")})
    total = sum(map(len, rows))
    extra = -(-total // multiple) * multiple - total
    segments = [*rows, [3] * extra] if extra else rows
    assert found["input_ids"].tolist() == [[value for row in segments for value in row]]
    labels = [-100 if at == 0 else value for row in rows for at, value in enumerate(row)] + [-100] * extra
    assert found["labels"].tolist() == [labels]
    assert found["position_ids"].tolist() == [[at for row in segments for at in range(len(row))]]
    assert found["seq_idx"].tolist() == [[number for number, row in enumerate(segments) for _ in row]]
    ends = np.cumsum([0, *map(len, segments)]).tolist()
    assert found["cu_seq_lens_q"].tolist() == found["cu_seq_lens_k"].tolist() == ends
    longest = max(map(len, segments))
    expected = 1 << max(longest - 1, 0).bit_length() if power else longest
    assert found["max_length_q"] == found["max_length_k"] == expected
    for name, kind in {"input_ids": "int64", "labels": "int64", "seq_idx": "int32", "cu_seq_lens_q": "int32"}.items():
        assert found[name].dtype == kind


def test_packed_labels_may_be_a_column_of_their_own() -> None:
    columns = {"t": column([[1, 2], [3]], "int32"), "l": column([[5, 6], [7]], "int32")}
    found = laid_out(Packed("t", labels="l"), columns)
    assert found["labels"].tolist() == [[-100, 6, -100]]
    columns["l"] = column([[5], [6, 7]], "int32")
    with pytest.raises(DataError, match="rows of 'l' differ in length from those of 't'"):
        laid_out(Packed("t", labels="l"), columns)


@pytest.mark.parametrize("type", [pa.list_(pa.int32()), pa.large_list(pa.int32())])
def test_lists_of_a_slice_with_null_rows(type: pa.DataType) -> None:
    batch = pa.record_batch({"t": pa.array([[9], [1, 2], None, [], [3]], type)}).slice(1)
    values, offsets = lists_of(batch, ["t"])["t"]
    assert values.tolist() == [1, 2, 3] and offsets.tolist() == [0, 2, 2, 2, 3]


def test_null_values_in_lists_are_named() -> None:
    with pytest.raises(DataError, match="column 't': 1 values in lists are null"):
        lists_of(pa.record_batch({"t": pa.array([[1, None]])}), ["t"])


def test_what_cannot_be_laid_out_is_said() -> None:
    with pytest.raises(SpecError, match="multiple is 0"):
        Pad(multiple=0)
    with pytest.raises(SpecError, match="max_length is 10; expected a multiple of 8"):
        Pad(multiple=8, max_length=10)
    with pytest.raises(SpecError, match="side is 'up'"):
        Pad(side="up")
    with pytest.raises(SpecError, match="value -100 does not fit column 't', whose values are uint16.*dtype='int64'"):
        Pad(-100).check({"t": pa.uint16()})
    Pad(-100, dtype="int64").check({"t": pa.uint16(), "x": pa.float32()})
    with pytest.raises(SpecError, match="'longest' or 'power_of_two'"):
        Packed("t", max_length="most")
    with pytest.raises(SchemaError, match="'t' is no column of lists of whole numbers; .* x: list of float"):
        Packed("t").check({"x": pa.float32()})
    with pytest.raises(SchemaError, match="another column of lists, 'x', and one batch cannot pack two"):
        Packed("t").check({"t": pa.int32(), "x": pa.float32()})
