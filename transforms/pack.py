"""Pack: documents of any length become rows of one length, with the borders of the documents in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError, StateError
from forebay.transforms.compiled import kernels
from forebay.transforms.pack_plan import best_fit, concat
from forebay.transforms.token_rows import ragged, ragged_values
from forebay.transforms.transform import Apply, Joiner, Kind, State

_pack = kernels("pack")

_BORDERS = ("segment_ids", "position_ids", "labels", "cu_seqlens")


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows of `length` tokens, made of the documents of a column of lists: no token is lost, none is there twice.

    Runs in `.write()` alone, as the last step, work unit by work unit, so that what comes out depends neither on threads nor
    on interruptions; other columns go. (In a loader, `pad=fb.Packed(column)` packs the documents of each batch.) The report
    counts documents, tokens, rows, padding, and what was dropped.

    Where a document is cut, what follows begins a segment of its own, at position 0, and is in another row.
    """

    column: str
    """Lists of tokens. A null or empty one is counted and leaves nothing."""
    length: int
    """Tokens of a row."""
    method: Literal["best_fit", "concat"] = field(default="best_fit", kw_only=True)
    """"best_fit": whole documents, each into the fullest row with room for it; only one that is longer than a row is cut
    (Ding et al. 2024, arXiv:2404.10830), rows are padded. "concat": one behind the other, cut wherever a row ends; only the
    last row of a unit is padded."""
    borders: tuple[str, ...] = field(default=("segment_ids", "position_ids"), kw_only=True)
    """Columns that tell the documents apart: "segment_ids" (from 1 in each row, 0 for padding), "position_ids" (from 0 in
    each segment), "labels" (the tokens, -100 for padding and each segment's first), "cu_seqlens" (list of the places where
    segments begin, and the row's end; padding counts as a segment)."""
    end: int | None = field(default=None, kw_only=True)
    """Token put behind each document."""
    pad: int = field(default=0, kw_only=True)
    """Token that fills a row."""
    remainder: Literal["pad", "drop"] = field(default="pad", kw_only=True)
    """What becomes of the last, unfilled row of a unit in "concat"."""
    window: int = field(default=8192, kw_only=True)
    """Documents that "best_fit" chooses from at a time, held in memory."""

    kind: ClassVar[Kind] = "join"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "borders", (self.borders,) if isinstance(self.borders, str) else tuple(self.borders))
        unknown = [one for one in self.borders if one not in _BORDERS]
        if unknown or len(set(self.borders)) != len(self.borders):
            raise SpecError(f"Pack: borders is {self.borders!r}; expected names of {', '.join(_BORDERS)}, each once")
        for name, least in (("length", 2), ("window", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SpecError(f"Pack: {name} is {value!r}; expected a whole number of at least {least}")
        if self.method not in ("best_fit", "concat") or self.remainder not in ("pad", "drop"):
            raise SpecError(
                f"Pack: method is {self.method!r} and remainder is {self.remainder!r}; expected 'best_fit' or 'concat', and "
                "'pad' or 'drop'"
            )
        if self.remainder == "drop" and self.method != "concat":
            raise SpecError(
                "Pack: remainder='drop' is for method='concat'; best-fit packing has no one last row to drop"
            )
        if self.column in self.borders:
            raise SpecError(f"Pack: the tokens' column and one of the borders are both called {self.column!r}")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        kind = ragged(self, schema, self.column)
        for name, token in (("end", self.end), ("pad", self.pad)):
            info = np.iinfo(kind.to_pandas_dtype())
            if token is not None and not info.min <= token <= info.max:
                raise SchemaError(f"Pack: {name} is {token}, which does not fit the tokens of {self.column!r} ({kind})")
        types = {
            "segment_ids": pa.list_(pa.int32(), self.length),
            "position_ids": pa.list_(pa.int32(), self.length),
            "labels": pa.list_(pa.int64(), self.length),
            "cu_seqlens": pa.list_(pa.int32()),
        }
        fields = [pa.field(self.column, pa.list_(kind, self.length), nullable=False)]
        fields += [pa.field(name, types[name], nullable=False) for name in self.borders]
        return pa.schema(fields, metadata=schema.metadata)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        raise SpecError("Pack joins the rows of a whole work unit, so it runs in .write() alone")

    def joiner(self, schema: pa.Schema) -> "Joiner":
        return Packing(self, schema)


class Packing:
    """`Pack` at work on one unit: what waits for its row, and what was counted."""

    def __init__(self, spec: Pack, schema: pa.Schema) -> None:
        self._spec, self._schema = spec, spec.output_schema(schema)
        self._kind = ragged(spec, schema, spec.column).to_pandas_dtype()
        self._waiting: list[tuple[NDArray[Any], NDArray[np.int64]]] = []
        """(tokens, lengths of documents), in order."""
        self._documents = self._tokens = 0
        """What waits: documents to choose from, tokens to fill rows with."""
        self._counts = dict.fromkeys(
            ("documents", "empty_documents", "tokens", "end_tokens", "rows", "padding", "dropped_tokens"), 0
        )

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        column = batch.column(self._spec.column)
        flat, offsets = ragged_values(column)
        lengths = np.diff(offsets)
        self._counts["documents"] += len(lengths)
        self._counts["tokens"] += len(flat)
        self._counts["empty_documents"] += int((lengths == 0).sum())
        lengths = lengths[lengths > 0]
        tokens = flat.astype(self._kind)
        if self._spec.end is not None:
            tokens, lengths = _ended(tokens, lengths, self._spec.end)
            self._counts["end_tokens"] += len(lengths)
        for start in range(0, len(lengths), self._spec.window):
            part = lengths[start : start + self._spec.window]
            before = int(lengths[:start].sum())
            self._waiting.append((tokens[before : before + int(part.sum())], part))
            self._documents += len(part)
            self._tokens += int(part.sum())
            if self._ready():
                yield from self._rows(last=False)

    def finish(self) -> Iterator[pa.RecordBatch]:
        if self._waiting:
            yield from self._rows(last=True)
        found, made = self._counts, self._counts["rows"] * self._spec.length - self._counts["padding"]
        if found["tokens"] + found["end_tokens"] != made + found["dropped_tokens"]:
            raise StateError(
                f"Pack: tokens are missing: {found}"
            )  # nothing is lost in silence, not even by a mistake of ours

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def _ready(self) -> bool:
        by_documents = self._spec.method == "best_fit"
        return self._documents >= self._spec.window if by_documents else self._tokens >= self._spec.length

    def _rows(self, *, last: bool) -> Iterator[pa.RecordBatch]:
        tokens = np.concatenate([one for one, _ in self._waiting])
        lengths = np.concatenate([one for _, one in self._waiting])
        size = self._spec.length
        self._waiting, self._documents, self._tokens = [], 0, 0
        if self._spec.method == "best_fit":
            pieces = best_fit(lengths, size)
        else:
            whole = len(tokens) // size * size if not last or self._spec.remainder == "drop" else len(tokens)
            pieces = concat(lengths, size, stop=whole)
            if not last:
                self._keep(tokens, lengths, whole)
            else:
                self._counts["dropped_tokens"] += len(tokens) - whole
        if len(pieces):
            yield self._batch(np.ascontiguousarray(tokens), pieces)

    def _keep(self, tokens: NDArray[Any], lengths: NDArray[np.int64], used: int) -> None:
        """What did not fill a row waits for the next batch; a document that was cut goes on there."""
        ends = np.cumsum(lengths)
        rest = ends[ends > used] - used
        if len(rest):
            self._waiting = [(tokens[used:], np.diff(rest, prepend=0))]
            self._documents, self._tokens = len(rest), len(tokens) - used

    def _batch(self, tokens: NDArray[Any], pieces: NDArray[np.int64]) -> pa.RecordBatch:
        rows, size = int(pieces[:, 2].max()) + 1, self._spec.length
        filled = np.full((rows, size), self._spec.pad, self._kind)
        segments, positions = np.zeros((rows, size), np.int32), np.zeros((rows, size), np.int32)
        _pack.rows_into(tokens, pieces, filled, segments, positions)
        self._counts["rows"] += rows
        self._counts["padding"] += rows * size - int(pieces[:, 1].sum())
        made = {self._spec.column: filled, "segment_ids": segments, "position_ids": positions}
        if "labels" in self._spec.borders:
            begins = (positions == 0) | (segments == 0)
            made["labels"] = np.where(begins, -100, filled.astype(np.int64))
        arrays = [
            _cu_seqlens(pieces, size) if one.name == "cu_seqlens" else _fixed(made[one.name]) for one in self._schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _ended(tokens: NDArray[Any], lengths: NDArray[np.int64], end: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    longer = lengths + 1
    made = np.empty(int(longer.sum()), tokens.dtype)
    ends = np.zeros(len(made), np.bool_)
    ends[np.cumsum(longer) - 1] = True
    made[ends], made[~ends] = end, tokens
    return made, longer


def _fixed(values: NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _cu_seqlens(pieces: NDArray[np.int64], size: int) -> pa.Array:
    """Where segments begin in each row, its end, and before that the end of the last segment if padding follows."""
    rows = int(pieces[:, 2].max()) + 1
    filled = np.bincount(pieces[:, 2], weights=pieces[:, 1], minlength=rows).astype(np.int64)
    short = np.flatnonzero(filled < size)
    row = np.concatenate([pieces[:, 2], short, np.arange(rows)])
    place = np.concatenate([pieces[:, 3], filled[short], np.full(rows, size)])
    order = np.lexsort((place, row))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(row, minlength=rows))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(place[order], pa.int32()))
