"""Tensor columns from numpy arrays."""

from typing import Any

import pyarrow as pa
from numpy.typing import NDArray


def tensors(array: NDArray[Any]) -> pa.FixedShapeTensorArray:
    """(N, *shape) -> N rows of a fixed_shape_tensor column; N may be 0, which pyarrow's own function refuses."""
    type = pa.fixed_shape_tensor(pa.from_numpy_dtype(array.dtype), array.shape[1:])
    storage = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), type=type.storage_type)
    return pa.ExtensionArray.from_storage(type, storage)
