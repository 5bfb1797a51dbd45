"""Readers: one for each file format, chosen by suffix."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from forebay.formats.fragment import Fragment
from forebay.formats.store import Store


class Reader(Protocol):
    """Reads one format. Stateless; safe to call from several threads at once."""

    format: str
    """Its name in recipes and manifests: parquet, arrow, jsonl, csv, images, webdataset."""

    def schema(self, store: Store, path: str) -> pa.Schema:
        """Schema of one file, read from as few bytes as the format allows."""

    def split(self, store: Store, path: str) -> list[Fragment]:
        """The file's fragments in source order."""

    def read(
        self,
        store: Store,
        fragment: Fragment,
        schema: pa.Schema,
        *,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The fragment's rows, in order, as batches of the unified `schema` narrowed to `columns`.

        `filter` is a hint: a reader that has statistics may skip row groups that cannot match. It never drops single
        rows; the filter stage does, so that counts are right.

        Raises:
            CorruptError: the bytes are not what the format says; names file and place.
            BadRows: rows (positions in the fragment) that cannot be parsed.
        """


class RandomAccess(Protocol):
    """What a reader offers as well if rows can be taken in any order at no cost: memory-mapped Arrow."""

    def open_batches(self, store: Store, path: str) -> list[pa.RecordBatch]:
        """All record batches of the file, zero copy."""
