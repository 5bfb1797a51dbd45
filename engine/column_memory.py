"""Where the values of an Arrow column lie in memory, and how a new column is built from gathered ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels

kernel = kernels("gather")


@dataclass(frozen=True, slots=True)
class ColumnMemory:
    """One column's layout, for types whose rows can be copied by address."""

    type: pa.DataType
    storage: pa.DataType
    """The type without its extension."""
    width: int
    """Bytes of a row; of one value where rows vary; `kernel.BITS` for booleans."""
    varies: bool
    """Whether rows have a varying number of values: binary, text, lists."""
    wide: bool
    """Whether its offsets have 64 bits."""

    @classmethod
    def of(cls, type: pa.DataType) -> "ColumnMemory | None":
        """None for types that cannot be copied by address: nested ones, dictionaries, views."""
        storage = type.storage_type if isinstance(type, pa.BaseExtensionType) else type
        is_list = pa.types.is_list(storage) or pa.types.is_large_list(storage)
        if pa.types.is_boolean(storage):
            return cls(type, storage, kernel.BITS, False, False)
        if pa.types.is_string(storage) or pa.types.is_binary(storage):
            return cls(type, storage, 1, True, False)
        if pa.types.is_large_string(storage) or pa.types.is_large_binary(storage):
            return cls(type, storage, 1, True, True)
        fixed = pa.types.is_fixed_size_list(storage)
        width = _plain_bytes(storage.value_type if fixed or is_list else storage)
        if not width:
            return None
        if fixed:
            return cls(type, storage, width * storage.list_size, False, False) if storage.list_size else None
        return cls(type, storage, width, is_list, pa.types.is_large_list(storage))

    @property
    def listed(self) -> bool:
        """Whether its values are a child array."""
        return not pa.types.is_primitive(self.storage) and hasattr(self.storage, "value_type")

    def describe(self, array: pa.Array, fields: NDArray[np.int64]) -> bool:
        """Write where the array's memory is to `fields` (4,), as the kernels read it.

        False: this array cannot be copied by address after all, since single values of its lists are null.
        """
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        buffers, offset = array.buffers(), array.offset
        if self.listed:
            values = array.values  # the whole child, whatever slice of it the array is
            if values.null_count:
                return False
            start = _address(values.buffers()[1]) + values.offset * _plain_bytes(values.type)
        else:
            start = _address(buffers[2 if self.varies else 1])
        at_row = 0 if self.varies else offset * self.width
        fields[kernel.DATA] = start + at_row
        fields[kernel.VALID] = _address(buffers[0]) if array.null_count else 0
        fields[kernel.VALID_BIT] = offset
        if self.varies:
            fields[kernel.OFFSETS] = _address(buffers[1]) + offset * (8 if self.wide else 4)
        return True

    def build(
        self, n: int, data: pa.Buffer, *, validity: pa.Buffer | None, nulls: int, offsets: pa.Buffer | None = None
    ) -> pa.Array:
        """A column of `n` rows over gathered memory."""
        lead = [validity] if offsets is None else [validity, offsets]
        if self.listed:
            value = self.storage.value_type
            child = pa.Array.from_buffers(value, data.size // _plain_bytes(value), [None, data], 0)
            made = pa.Array.from_buffers(self.storage, n, lead, nulls, 0, [child])
        else:
            made = pa.Array.from_buffers(self.storage, n, [*lead, data], nulls)
        return made if self.type == self.storage else pa.ExtensionArray.from_storage(self.type, made)


def _address(buffer: Any) -> int:
    return 0 if buffer is None else int(buffer.address)


def _plain_bytes(type: pa.DataType) -> int:
    """Bytes of one value; 0 for types that are not plain numbers, times, decimals or bytes of a fixed length."""
    plain = pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_temporal(type)
    plain = plain or pa.types.is_decimal(type) or pa.types.is_fixed_size_binary(type)
    if not plain or pa.types.is_interval(type):
        return 0
    return int(type.bit_width) // 8
