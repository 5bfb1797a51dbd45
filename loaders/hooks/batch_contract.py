"""What crosses the bus: the dtypes (and shapes) that a batch must have, checked on the first one.

An image batch of 256x3x224x224 is 38.5 MB in uint8, 77 MB in bf16 and 154 MB in float32. One stray cast on the host
quadruples the copy and nothing fails, so the contract is checked, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from forebay.formats.errors import SchemaError

if TYPE_CHECKING:
    from forebay.loaders.hooks.hook import Context


@dataclass(frozen=True, slots=True)
class Field:
    """One tensor of a batch."""

    dtype: torch.dtype
    shape: tuple[int | None, ...] | None = None
    """Sizes after the batch dimension; None in a place lets any size pass. None: not checked."""


class BatchContract:
    """A hook that refuses the first batch when it is not as agreed.

    `BatchContract({"image": Field(torch.uint8, (3, 224, 224)), "label": Field(torch.int64, ())})` for mappings; for a
    tuple of tensors use the positions 0, 1, ... as names.
    """

    def __init__(self, fields: Mapping[str | int, Field]) -> None:
        self.fields = dict(fields)
        self._checked = False

    def on_batch(self, ctx: "Context", batch: Any) -> None:
        if not self._checked:
            self.check(batch)
            self._checked = True

    def check(self, batch: Any) -> None:
        """Compare one batch.

        Raises:
            SchemaError: a tensor is missing or has another dtype or shape; names it, and what was found.
        """
        for name, field in self.fields.items():
            try:
                found = batch[name]
            except (KeyError, IndexError, TypeError):
                kind = sorted(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
                raise SchemaError(f"the batch has no {name!r}; it is {kind}") from None
            self._check_field(name, found, field=field)

    def _check_field(self, name: str | int, found: Any, *, field: Field) -> None:
        if not isinstance(found, torch.Tensor):
            raise SchemaError(f"{name!r} of the batch is a {type(found).__name__}, expected a tensor of {field.dtype}")
        if found.dtype != field.dtype:
            ratio = found.element_size() / field.dtype.itemsize
            cost = f": {ratio:g} times the bytes of every copy" if ratio > 1 else ""
            raise SchemaError(
                f"{name!r} of the batch is {found.dtype}, agreed was {field.dtype}{cost}. Look for a cast before the "
                "copy; widen and normalize on the device (DeviceTransform)"
            )
        sizes = tuple(found.shape[1:])
        if field.shape is None:
            return
        same = len(sizes) == len(field.shape) and all(
            want in (None, size) for want, size in zip(field.shape, sizes, strict=True)
        )
        if not same:
            raise SchemaError(f"{name!r} of the batch has shape (N, *{sizes}), agreed was (N, *{field.shape})")
