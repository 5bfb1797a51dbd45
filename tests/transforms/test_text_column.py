"""Text columns as buffers: slices, nulls, both sizes of offsets."""

import pyarrow as pa
import pytest

from forebay.transforms.text_column import text_bytes, text_column, text_room


@pytest.mark.parametrize("type", [pa.string(), pa.large_string()])
def test_a_column_is_made_again_from_its_bytes(type: pa.DataType) -> None:
    whole = pa.array(["one", None, "", "drei", "é"] * 3, type)
    for column in (
        whole,
        whole.slice(3, 9),
        whole.slice(5, 0),
        whole.drop_null(),
        pa.nulls(3, type),
        pa.array([], type),
    ):
        offsets, data = text_bytes(column)
        buffer, out = text_room(int(offsets[-1] - offsets[0]))
        out[:] = data[offsets[0] : offsets[-1]]
        made = text_column(column, offsets - offsets[0], buffer)
        made.validate(full=True)
        assert made.equals(column) and made.type == type
