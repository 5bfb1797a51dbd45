"""From Arrow columns to arrays of a batch: what has which shape, and what cannot be held."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from forebay.formats.errors import DataError, SchemaError
from forebay.loaders.columns_out import copy_into, list_of_numbers, tensor_spec, text_lists, textual


@pytest.mark.parametrize(
    ("type", "shape", "dtype"),
    [
        (pa.int8(), (), "int8"),
        (pa.uint32(), (), "uint32"),
        (pa.float16(), (), "float16"),
        (pa.bool_(), (), "bool"),
        (pa.timestamp("ms"), (), "int64"),
        (pa.date32(), (), "int64"),
        (pa.list_(pa.float32(), 5), (5,), "float32"),
        (pa.fixed_shape_tensor(pa.uint8(), (3, 4, 4)), (3, 4, 4), "uint8"),
    ],
)
def test_columns_of_a_fixed_shape(type: pa.DataType, shape: tuple[int, ...], dtype: str) -> None:
    spec = tensor_spec(pa.field("x", type))
    assert spec is not None and spec.shape == shape and spec.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    "type", [pa.string(), pa.large_binary(), pa.list_(pa.int32()), pa.large_list(pa.float64())], ids=str
)
def test_columns_whose_rows_vary(type: pa.DataType) -> None:
    assert tensor_spec(pa.field("x", type)) is None
    assert textual(type) != (list_of_numbers(type) is not None)


@pytest.mark.parametrize(
    "type", [pa.struct({"a": pa.int32()}), pa.list_(pa.string()), pa.map_(pa.string(), pa.int8())], ids=str
)
def test_what_no_batch_can_hold_says_what_to_do(type: pa.DataType) -> None:
    with pytest.raises(SchemaError, match=r"column 'x' is .*, which no batch can hold; .*leave it out with .select"):
        tensor_spec(pa.field("x", type))


def test_values_are_copied_and_null_floats_become_nan() -> None:
    tensor = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int16(), (2, 2)), pa.array([[1, 2, 3, 4], [5, 6, 7, 8]], pa.list_(pa.int16(), 4))
    )
    batch = pa.record_batch(
        {
            "f": pa.array([1.5, None], pa.float32()),
            "b": [True, False],
            "l": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
            "t": tensor,
            "day": [datetime.date(1970, 1, 3), datetime.date(1970, 1, 2)],
            "at": pa.array([5, 6], pa.timestamp("us")),
        }
    )
    out = {}
    for field in batch.schema:
        spec = tensor_spec(field)
        assert spec is not None
        out[field.name] = np.zeros((2, *spec.shape), spec.dtype)
    copy_into(batch, out)
    assert out["f"][0] == 1.5 and np.isnan(out["f"][1])
    assert out["b"].tolist() == [True, False] and out["l"].tolist() == [[1, 2], [3, 4]]
    assert out["t"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert out["day"].tolist() == [2, 1] and out["at"].tolist() == [5, 6]


def test_null_where_there_is_no_value_for_it_is_named() -> None:
    batch = pa.record_batch({"n": pa.array([1, None, None])})
    with pytest.raises(DataError, match=r"column 'n' \(int64\) has 2 nulls in this batch.*T.FillNull or T.DropNulls"):
        copy_into(batch, {"n": np.zeros(3, np.int64)})


def test_text_and_bytes_come_as_lists() -> None:
    batch = pa.record_batch({"s": ["a", None], "b": [b"x", b""], "n": [1, 2]})
    assert text_lists(batch) == {"s": ["a", None], "b": [b"x", b""]}
