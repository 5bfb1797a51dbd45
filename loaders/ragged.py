"""Columns whose rows vary in length, in a batch: padded to one length, or packed one behind another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import DataError, SchemaError, SpecError, UnknownNameError
from forebay.formats.plain_numbers import list_lengths, list_values, numbers
from forebay.loaders.slot import Slot
from forebay.transforms.compiled import kernels
from forebay.transforms.stage import TensorSpec

_ragged = kernels("ragged")

Lists = Mapping[str, tuple[NDArray[Any], NDArray[np.int64]]]
"""Column -> (values, (B + 1,) offsets into them) of one batch."""


class Ragged(Protocol):
    """What becomes of the list columns of a batch."""

    def check(self, columns: Mapping[str, pa.DataType]) -> None:
        """Refuse columns it cannot lay out (SchemaError, SpecError)."""

    def names(self, columns: Sequence[str]) -> list[str]:
        """Columns of the batch that these become, and those that are added."""

    def nbytes(self, lists: Lists) -> int:
        """Most bytes that `lay_out` takes of a slot for one batch."""

    def lay_out(self, lists: Lists, slot: Slot, number: int) -> dict[str, Any]:
        """Write batch `number`. Tensors go to the slot under the key (name, number); plain values are returned."""


@dataclass(frozen=True, slots=True)
class Pad:
    """Each list column becomes a tensor (B, L); L is the batch's longest row, rounded up to `multiple`.

    Beside each column c comes `c_length`, int64 (B,): how many of its values are real.
    """

    value: float | Mapping[str, float] = 0
    """What fills up; or column -> value, such as {"input_ids": 0, "labels": -100} (0 in columns that it does not name)."""
    multiple: int = field(default=1, kw_only=True)
    """L is a multiple of this: 8 or 16 for tensor cores; few different lengths for compiled models."""
    max_length: int | None = field(default=None, kw_only=True)
    """Greatest L; longer rows lose their end."""
    side: Literal["right", "left"] = field(default="right", kw_only=True)
    """Where the fill is: generation wants it left."""
    mask: str | None = field(default=None, kw_only=True)
    """Name of an int64 (B, L) tensor: 1 where the first list column has a value, 0 where it is filled ("attention_mask")."""
    dtype: str | None = field(default=None, kw_only=True)
    """Type of integer columns in the batch, such as "int64", which embeddings want; None keeps that of the data."""

    def __post_init__(self) -> None:
        _check_multiple("Pad", self.multiple)
        if self.max_length is not None and (self.max_length < 1 or self.max_length % self.multiple):
            raise SpecError(f"Pad: max_length is {self.max_length}; expected a multiple of {self.multiple}")
        if self.side not in ("right", "left"):
            raise SpecError(f"Pad: side is {self.side!r}; expected 'right' or 'left'")

    def check(self, columns: Mapping[str, pa.DataType]) -> None:
        for name in self.value if isinstance(self.value, Mapping) else ():
            if name not in columns:
                raise UnknownNameError.of("column of lists", name, columns, where="Pad")
        for name, type in columns.items():
            kind = np.dtype(type.to_pandas_dtype())
            kind = np.dtype(self.dtype) if self.dtype and kind.kind in "iu" else kind
            with np.errstate(all="ignore"):
                filled = np.array([self._fill(name)]).astype(kind)
            if kind.kind in "iu" and filled[0] != self._fill(name):
                raise SpecError(
                    f"Pad: value {self._fill(name)} does not fit column {name!r}, whose values are {kind}; give another, or "
                    "dtype='int64'"
                )

    def names(self, columns: Sequence[str]) -> list[str]:
        mask = [self.mask] if self.mask and columns else []
        return [*columns, *(f"{name}_length" for name in columns), *mask]

    def length(self, lists: Lists) -> dict[str, int]:
        """L of each column."""
        found = {}
        for name, (_, offsets) in lists.items():
            longest = int(np.diff(offsets).max(initial=0))
            rounded = max(-(-longest // self.multiple), 1) * self.multiple
            found[name] = rounded if self.max_length is None else min(rounded, self.max_length)
        return found

    def nbytes(self, lists: Lists) -> int:
        total = 0
        for name, length in self.length(lists).items():
            values, offsets = lists[name]
            total += (len(offsets) - 1) * (length * (self._type(values).itemsize + 8) + 8) + 3 * 64
        return total

    def lay_out(self, lists: Lists, slot: Slot, number: int) -> dict[str, Any]:
        for at, (name, length) in enumerate(self.length(lists).items()):
            values, offsets = lists[name]
            rows, kind = len(offsets) - 1, self._type(values)
            lengths = np.minimum(np.diff(offsets), length)
            out = slot.column((name, number), rows, TensorSpec((length,), kind))
            bits = np.dtype(f"u{kind.itemsize}")
            flat = np.ascontiguousarray(values[offsets[0] : offsets[-1]], kind).view(bits)
            fill = np.array([self._fill(name)]).astype(kind).view(bits)
            _ragged.pad_into(flat, offsets - offsets[0], fill, self.side == "left", out.view(bits))
            slot.column((f"{name}_length", number), rows, _ROW)[:] = lengths
            if at == 0 and self.mask:
                real = np.arange(length) < lengths[:, None]
                mask = slot.column((self.mask, number), rows, TensorSpec((length,), np.dtype(np.int64)))
                mask[:] = real[:, ::-1] if self.side == "left" else real
        return {}

    def _fill(self, column: str) -> float:
        return self.value.get(column, 0) if isinstance(self.value, Mapping) else self.value

    def _type(self, values: NDArray[Any]) -> np.dtype[Any]:
        return np.dtype(self.dtype) if self.dtype and values.dtype.kind in "iu" else values.dtype


@dataclass(frozen=True, slots=True)
class Packed:
    """The rows of one token column behind one another, without padding, under the names that Hugging Face models take.

    `input_ids`, `labels` (-100 at each row's first token), `position_ids` (from 0 in each row): int64 (1, T); `seq_idx`:
    int32 (1, T); `cu_seq_lens_q`, `cu_seq_lens_k`: int32 (B + 1,); `max_length_q`, `max_length_k`: int. There is no
    attention mask: given one, the models would attend across rows.
    """

    column: str
    """Column of token lists."""
    labels: str | None = field(default=None, kw_only=True)
    """Column of labels of the same lengths; None: the tokens themselves."""
    multiple: int = field(default=1, kw_only=True)
    """T is a multiple of this: padding tokens form one more row, with labels -100."""
    pad_token: int = field(default=0, kw_only=True)
    max_length: Literal["longest", "power_of_two"] = field(default="longest", kw_only=True)
    """What `max_length_q` tells: the longest row, or the next power of two, since each new value compiles anew."""

    def __post_init__(self) -> None:
        _check_multiple("Packed", self.multiple)
        if self.max_length not in ("longest", "power_of_two"):
            raise SpecError(f"Packed: max_length is {self.max_length!r}; expected 'longest' or 'power_of_two'")

    def check(self, columns: Mapping[str, pa.DataType]) -> None:
        for name in (self.column, self.labels):
            found = columns.get(name) if name else pa.int64()
            if found is None or not pa.types.is_integer(found):
                listed = ", ".join(f"{one}: list of {type}" for one, type in columns.items()) or "none"
                raise SchemaError(
                    f"Packed: {name!r} is no column of lists of whole numbers; those of varying length are {listed}"
                )
        others = set(columns) - {self.column, self.labels}
        if others:
            raise SchemaError(
                f"Packed: there is another column of lists, {min(others)!r}, and one batch cannot pack two; leave it out with "
                ".select(...)"
            )

    def names(self, columns: Sequence[str]) -> list[str]:
        return list(_PACKED)

    def nbytes(self, lists: Lists) -> int:
        offsets = lists[self.column][1]
        total = int(offsets[-1] - offsets[0]) + self.multiple
        return total * (3 * 8 + 4) + 2 * 4 * (len(offsets) + 1) + 6 * 64

    def lay_out(self, lists: Lists, slot: Slot, number: int) -> dict[str, Any]:
        values, offsets = lists[self.column]
        label_values, label_offsets = lists[self.labels] if self.labels else (values, offsets)
        if not np.array_equal(np.diff(offsets), np.diff(label_offsets)):
            raise DataError(f"Packed: rows of {self.labels!r} differ in length from those of {self.column!r}")
        total = int(offsets[-1] - offsets[0])
        filled = -(-total // self.multiple) * self.multiple
        tokens, labels, positions = (
            slot.column((name, number), 1, TensorSpec((filled,), np.dtype(np.int64)))[0]
            for name in ("input_ids", "labels", "position_ids")
        )
        sequence = slot.column(("seq_idx", number), 1, TensorSpec((filled,), np.dtype(np.int32)))[0]
        tokens[:total] = values[offsets[0] : offsets[-1]]
        tokens[total:], labels[total:] = self.pad_token, -100
        positions[total:], sequence[total:] = np.arange(filled - total), len(offsets) - 1
        taken = np.ascontiguousarray(label_values[label_offsets[0] : label_offsets[-1]], np.int64)
        _ragged.pack_into(
            taken, label_offsets - label_offsets[0], -100, labels[:total], positions[:total], sequence[:total]
        )
        ends = offsets - offsets[0] if filled == total else np.append(offsets - offsets[0], filled)
        for name in ("cu_seq_lens_q", "cu_seq_lens_k"):
            slot.column((name, number), len(ends), TensorSpec((), np.dtype(np.int32)))[:] = ends
        longest = int(np.diff(ends).max(initial=0))
        if self.max_length == "power_of_two":
            longest = 1 << max(longest - 1, 0).bit_length()
        return {"max_length_q": longest, "max_length_k": longest}


_ROW = TensorSpec((), np.dtype(np.int64))
_PACKED = (
    "input_ids",
    "labels",
    "position_ids",
    "seq_idx",
    "cu_seq_lens_q",
    "cu_seq_lens_k",
    "max_length_q",
    "max_length_k",
)


def lists_of(batch: pa.RecordBatch, names: list[str]) -> dict[str, tuple[NDArray[Any], NDArray[np.int64]]]:
    """Column -> (values, (N + 1,) offsets) of all rows of a record batch; a null row is an empty one.

    Raises:
        DataError: single values are null.
    """
    found = {}
    for name in names:
        column = batch.column(name)
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        values = list_values(column)  # without what lies under null rows
        if values.null_count:
            raise DataError(
                f"column {name!r}: {values.null_count} values in lists are null, and a tensor cannot hold them; fill or drop "
                "them in preparation"
            )
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(list_lengths(column))])
        found[name] = (numbers(values), offsets)
    return found


def _check_multiple(name: str, multiple: int) -> None:
    if isinstance(multiple, bool) or not isinstance(multiple, int) or multiple < 1:
        raise SpecError(f"{name}: multiple is {multiple!r}; expected a whole number of at least 1")
