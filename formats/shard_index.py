"""The shards of a manifest: columns in memory, an object only for the one that is looked at."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard, as written."""

    name: str
    """File name in the manifest's directory."""
    rows: int
    nbytes: int
    row_groups: int
    row_group_rows: int
    """Rows of each row group (or record batch) but the last: with it all fragments are known without opening a file."""
    checksum: str
    """See `forebay.formats.checksum`."""

    def group_rows(self) -> list[int]:
        """Rows of each row group."""
        full = [self.row_group_rows] * max(self.row_groups - 1, 0)
        return [*full, self.rows - sum(full)] if self.row_groups else []


class ShardIndex(Sequence[ShardInfo]):
    """A million shards take about 80 MB here, and four times that as objects."""

    def __init__(self, columns: dict[str, Any]) -> None:
        """From lists or arrays of equal length, by the names of `ShardInfo`.

        Raises:
            ValueError, KeyError, pa.ArrowInvalid: they are not of that shape.
        """
        self._columns = {name: pa.array(columns[name], type) for name, type in _TYPES.items()}
        if len({len(one) for one in self._columns.values()}) != 1:
            raise ValueError("the columns of the shards differ in length")

    @classmethod
    def of(cls, shards: Iterable[ShardInfo]) -> "ShardIndex":
        if isinstance(shards, ShardIndex):
            return shards
        known = list(shards)
        return cls({name: [getattr(one, name) for one in known] for name in _TYPES})

    def columns(self) -> dict[str, list[Any]]:
        """Plain lists, for JSON."""
        return {name: one.to_pylist() for name, one in self._columns.items()}

    def total(self, column: str) -> int:
        """Sum of `rows`, `nbytes` or `row_groups`, without looking at shards one by one."""
        return int(np.sum(self._columns[column].to_numpy(), dtype=np.int64))

    def __len__(self) -> int:
        return len(self._columns["name"])

    @overload
    def __getitem__(self, at: int) -> ShardInfo: ...
    @overload
    def __getitem__(self, at: slice) -> "ShardIndex": ...
    def __getitem__(self, at: int | slice) -> "ShardInfo | ShardIndex":
        if isinstance(at, slice):
            return ShardIndex({name: one[at] for name, one in self._columns.items()})
        if not -len(self) <= at < len(self):
            raise IndexError(f"shard {at} of {len(self)}")
        return ShardInfo(**{name: one[at % len(self)].as_py() for name, one in self._columns.items()})

    def __iter__(self) -> Iterator[ShardInfo]:
        for first in range(0, len(self), _AT_A_TIME):
            parts = (one[first : first + _AT_A_TIME].to_pylist() for one in self._columns.values())
            yield from (ShardInfo(*values) for values in zip(*parts, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShardIndex) and self._columns == other._columns

    def __hash__(self) -> int:
        return hash((len(self), self.total("rows")))

    def __repr__(self) -> str:
        return f"<{len(self):,} shards, {self.total('rows'):,} rows>"


_AT_A_TIME = 4096
_TYPES = {
    "name": pa.string(),
    "rows": pa.int64(),
    "nbytes": pa.int64(),
    "row_groups": pa.int64(),
    "row_group_rows": pa.int64(),
    "checksum": pa.string(),
}
