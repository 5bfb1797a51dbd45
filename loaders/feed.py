"""The feed: an epoch's order becomes reads, stages, and batches in slots, some steps ahead of the trainer."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from forebay.engine.dataset import Dataset
from forebay.engine.ordered import in_order
from forebay.engine.plan import Plan
from forebay.engine.run_stages import Tally, run_stages, split_id
from forebay.engine.stage import FilterStage
from forebay.formats.errors import BadRows, DataError
from forebay.loaders.columns_out import copy_into, tensor_spec, text_lists
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.ring import Ring, Slot
from forebay.loaders.row_source import Piece, RowSource, row_source
from forebay.transforms.stage import SlotStage, Stage, TensorSpec
from forebay.transforms.transform import Rows

Batch = dict[str, Any]

CHUNK_BYTES = 4 << 20
"""Bytes prepared in one go, as several batches where those are small: a thread then works for a millisecond or so between
two hand-overs, and what it wrote is still in the cache when the trainer reads it."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some consecutive batches of this rank."""

    rows: int
    scheduled: Any
    """What the row source made of them."""


class Feed:
    """Makes the batches of one rank. Threads share it; an epoch's iteration holds all that changes."""

    def __init__(self, dataset: Dataset, spec: FeedSpec) -> None:
        self._dataset, self.spec = dataset, spec
        self._plan: Plan = dataset.plan()
        # the selection has applied the filters already, so that positions are known; here they would find nothing more
        self._stages = tuple(one for one in self._plan.stages if not isinstance(one, FilterStage))
        while self._stages and self._stages[-1].label == "Select" and self._takes_all(self._stages[:-1]):
            self._stages = self._stages[:-1]  # columns are picked by name below; nothing has to be built for that
        last = self._stages[-1] if self._stages else None
        self._last: Any = last if isinstance(last, SlotStage) else None
        self.specs = {one.name: found for one in self._plan.schema if (found := tensor_spec(one)) is not None}
        self._text = [one.name for one in self._plan.schema if one.name not in self.specs]
        self._straight = self._last is not None and len(self._stages) == 1 and not self._text
        row_bytes = sum(int(np.prod(one.shape, dtype=np.int64)) * one.dtype.itemsize for one in self.specs.values())
        self._batches_a_chunk = max(1, CHUNK_BYTES // max(row_bytes * spec.batch_size, 1))
        self.ring = Ring(self.specs, self._batches_a_chunk * spec.batch_size, pinned=torch.cuda.is_available())

    @property
    def rows(self) -> int:
        """Rows of an epoch, on all ranks."""
        return len(self._dataset.selection)

    def _takes_all(self, stages: tuple[Stage, ...]) -> bool:
        """Whether every column that the last of `stages` writes to a slot is in the result."""
        last = stages[-1] if stages else None
        return isinstance(last, SlotStage) and set(last.tensors()) <= set(self._plan.schema.names)

    def epoch(self, epoch: int, position: int) -> Iterator[tuple[Batch, int]]:
        """(batch, rows given by then on all ranks) from `position` to the epoch's end."""
        source = row_source(self._dataset, self._plan, self.spec, epoch)
        spec, rows = self.spec, self.rows
        end = rows - rows % spec.global_batch if spec.drop_last else rows
        starts = range(position, end, spec.global_batch)
        threads, given = spec.threads, position
        pool = ThreadPoolExecutor(threads, thread_name_prefix="forebay-feed") if threads else None
        try:
            chunks = self._chunks(source, starts, pool)
            make = lambda chunk: self._make(source, chunk, epoch)  # noqa: E731
            for batches in in_order(pool, make, chunks, ahead=threads + 2) if pool else map(make, chunks):
                for batch in batches:
                    given = min(given + spec.global_batch, rows)
                    yield batch, given
        finally:
            if pool:
                pool.shutdown(wait=True, cancel_futures=True)

    def _chunks(self, source: RowSource, starts: range, pool: ThreadPoolExecutor | None) -> Iterator[_Chunk]:
        rows = self.rows
        for at in range(0, len(starts), self._batches_a_chunk):
            shares = [self.spec.share(start, rows) for start in starts[at : at + self._batches_a_chunk]]
            yield _Chunk(sum(stop - first for first, stop in shares), source.schedule(shares, pool))

    def _make(self, source: RowSource, chunk: _Chunk, epoch: int) -> list[Batch]:
        slot = self.ring.take()
        texts: dict[str, list[Any]] = {name: [None] * chunk.rows for name in self._text}
        at = 0
        for piece in source.pieces(chunk.scheduled):
            index = slice(at, at + len(piece.take)) if piece.places is None else piece.places
            at += len(piece.take)
            try:
                self._write(piece, Rows(piece.ids, self.spec.seed, epoch), _Place(slot, index), texts)
            except BadRows as error:
                raise _located(error, piece) from error
        return self._cut(slot, chunk.rows, texts)

    def _write(self, piece: Piece, rows: Rows, place: "_Place", texts: dict[str, list[Any]]) -> None:
        """The piece's rows through the stages, into the slot."""
        out = place.arrays(self.specs)
        if self._straight:
            written = self._last.tensors()
            self._last.run_into(piece.batch, rows, piece.take, {name: out[name] for name in written})
            others = [name for name in self.specs if name not in written]
            if others:
                copy_into(piece.batch.select(others).take(pa.array(piece.take)), {name: out[name] for name in others})
        else:
            taken = piece.batch.take(pa.array(piece.take))
            taken, _ = run_stages(self._stages, taken, rows, on_bad="raise", tally=Tally(), file=piece.path)
            copy_into(taken, out)
            for name, values in text_lists(taken.select(self._text)).items():
                for at, value in zip(place.rows(), values, strict=True):
                    texts[name][at] = value
        place.put(out)

    def _cut(self, slot: Slot, rows: int, texts: dict[str, list[Any]]) -> list[Batch]:
        size = self.spec.batch_size
        if not self.specs:
            return [{name: texts[name][at : at + size] for name in texts} for at in range(0, rows, size)]
        batches: list[Batch] = slot.batches(rows, size)
        if not texts:
            return batches
        for number, batch in enumerate(batches):
            for name, values in texts.items():
                batch[name] = values[number * size : (number + 1) * size]
        return [{name: batch[name] for name in self._plan.schema.names} for batch in batches]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where some rows go in a slot: a run, or scattered rows."""

    slot: Slot
    index: Any
    """A slice, or (n,) row numbers."""

    def arrays(self, specs: Mapping[str, TensorSpec]) -> dict[str, NDArray[Any]]:
        """What to write to: for a run the slot itself, for scattered rows arrays that `put` copies there."""
        if isinstance(self.index, slice):
            return {name: self.slot.arrays[name][self.index] for name in specs}
        return {name: np.empty((len(self.index), *one.shape), one.dtype) for name, one in specs.items()}

    def put(self, out: Mapping[str, NDArray[Any]]) -> None:
        """Copy scattered rows to their places."""
        if not isinstance(self.index, slice):
            for name, values in out.items():
                self.slot.arrays[name][self.index] = values

    def rows(self) -> Iterable[int]:
        """The rows' numbers in the slot."""
        found: Iterable[int] = self.index.tolist() if not isinstance(self.index, slice) else []
        return range(self.index.start, self.index.stop) if isinstance(self.index, slice) else found


def _located(error: BadRows, piece: Piece) -> DataError:
    fragment, row = split_id(int(piece.ids[error.rows[0]]))
    column = f", column {error.column!r}" if error.column else ""
    return DataError(
        f"{piece.path}: fragment {fragment}, row {row}{column}: {error.reason}; prepare the data with `forebay prep`, which "
        "sets such rows aside, or filter them out"
    )
