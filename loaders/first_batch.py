"""The contract of a batch: types, shapes and layout, looked at once, on the first batch of an iteration."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from forebay.formats.errors import SchemaError
from forebay.loaders.columns_out import tensor_spec
from forebay.loaders.hooks.batch_contract import BatchContract, Field


def check_first_batch(batch: Mapping[str, Any], schema: pa.Schema, agreed: Mapping[Any, Field] | None) -> None:
    """Compare a batch with the data set's schema, and with what the user has agreed with the trainer.

    Args:
        batch: column -> tensor, or list for text.
        schema: of the data set, after all transforms.
        agreed: column -> type and shape that the trainer counts on.

    Raises:
        SchemaError: a column has another type or shape, or rows that do not lie one behind another in memory.
    """
    for field in schema:
        spec, found = tensor_spec(field), batch.get(field.name)
        if spec is None or found is None:
            continue
        kind = torch.from_numpy(np.empty(0, spec.dtype)).dtype
        if found.dtype != kind or tuple(found.shape[1:]) != spec.shape:
            raise SchemaError(
                f"column {field.name!r} of the batch is {found.dtype} of shape (N, *{tuple(found.shape[1:])}), and the schema of "
                f"the data set says {field.type}, {kind} of shape (N, *{spec.shape}): the output_schema of a transform is wrong"
            )
        if not found.is_contiguous():
            raise SchemaError(f"column {field.name!r} of the batch is not contiguous: strides {found.stride()}")
    if agreed:
        BatchContract(agreed).check(batch)
