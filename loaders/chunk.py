"""A chunk: consecutive batches that are prepared in one go, from scheduled reads to filled slots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.gather import Gatherer
from forebay.formats.errors import SchemaError
from forebay.loaders.columns_out import list_of_numbers, text_lists, textual
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.filled import Filled
from forebay.loaders.member import Member
from forebay.loaders.ragged import lists_of
from forebay.loaders.ring import Ring
from forebay.loaders.slot import Layout, padded, slot_bytes
from forebay.loaders.stage_writer import scattered
from forebay.loaders.work import Stretch, Work
from forebay.transforms.batch_mix import BatchTransform
from forebay.transforms.stage import TensorSpec
from forebay.transforms.transform import Rows

PART_BYTES = 8 << 20
"""Least bytes of a part of a chunk: to write so many costs a thread far more than to begin."""
_LOOSE_BYTES = 1024
"""What a row of text or of a list is taken for when chunks of work are sized."""
_TOKENIZED_BYTES = 64 << 10
"""The same of a list that a stage makes from something else: a tokenizer takes a tenth of a millisecond or more for it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive batches of this rank."""

    epoch: int
    sizes: list[int]
    """Rows of each batch."""
    untils: list[int]
    """Position of the epoch after each."""
    parts: list[Work]
    """What its rows come from; nothing where that is one stretch."""
    stretch: Stretch | None = None
    """The stretch that its rows are a part of."""
    first: int = 0
    """Which row of the stretch is its first."""

    @property
    def rows(self) -> int:
        return sum(self.sizes)

    @property
    def work(self) -> list[Work]:
        """What its rows come from."""
        if self.stretch is None:
            return self.parts
        whole = self.stretch.work
        return [replace(whole, positions=whole.positions[self.first : self.first + self.rows])]


class Room(NamedTuple):
    """Where a chunk is written."""

    filled: Filled
    arrays: dict[str, NDArray[Any]]
    """Columns of a fixed shape, (rows, *shape)."""


class ChunkMaker:
    """Fills slots. Thread-safe.

    Attributes:
        specs: columns of a fixed shape, as the trainer gets them.
        mixers: transforms that mix the rows of a batch, with their positions in the graph.
        row_bytes: what a row takes, about.
    """

    def __init__(self, member: Member, spec: FeedSpec, ring: Ring) -> None:
        plan, writer = member.plan, member.writer
        self._spec, self.ring, self._opaque = spec, ring, plan.opaque
        self._written: dict[str, TensorSpec] = writer.specs
        self.mixers: list[tuple[int, BatchTransform]] = list(plan.batch_transforms)  # type: ignore[arg-type]  # kind "batch"
        self.specs: dict[str, TensorSpec] = dict(writer.specs)
        for _, mixer in self.mixers:
            self.specs = dict(mixer.batch_tensors(self.specs))
        self._texts = [name for name in writer.loose if textual(plan.schema.field(name).type)]
        self._lists = [name for name in writer.loose if name not in self._texts]
        self._names = [one.name for one in plan.schema]
        if self._lists:
            types = {name: list_of_numbers(plan.schema.field(name).type) for name in self._lists}
            spec.ragged.check({name: type for name, type in types.items() if type is not None})
            _check_names(spec.ragged.names(self._lists), self._lists, self._names)
        lists = [one.name for one in plan.source_schema if list_of_numbers(one.type) is not None]
        made = [name for name in self._lists if name not in lists]
        loose = _LOOSE_BYTES * (len(writer.loose) - len(made)) + _TOKENIZED_BYTES * len(made)
        self.row_bytes = slot_bytes(1024, list(self.specs.values())) // 1024 + loose
        self._layouts: dict[int, Layout] = {}

    @property
    def plain(self) -> bool:
        """Whether rows are written one by one: not mixed or laid out when all are there, nor shown to the user's functions."""
        return not (self.mixers or self._lists or self._texts or self._opaque)

    def parts(self, rows: int, threads: int) -> int:
        """In how many parts threads may fill chunks of so many rows together: one where batches are mixed or laid out when
        all rows are there, or where the user's functions are to see whole ones."""
        if not self.plain:
            return 1
        return max(1, min(threads, rows * self.row_bytes // PART_BYTES))

    def room(self, chunk: Chunk) -> Room:
        """A slot for a chunk, and its columns."""
        rows = chunk.rows
        filled = Filled(chunk.sizes, self._names)
        if not self.specs:
            return Room(filled, {})
        layout = self._layouts.get(rows)
        if layout is None:
            self._layouts = {rows: Layout.of(rows, self.specs)}  # nearly all chunks are alike
            layout = self._layouts[rows]
        slot = self.ring.take(layout.nbytes)
        filled.slots.append(slot)
        return Room(filled, slot.lay(layout))

    def write_rows(self, chunk: Chunk, room: Room, first: int, stop: int) -> None:
        """Write some rows of a chunk of one data set, in one of its `parts`."""
        stretch = chunk.stretch
        if stretch is not None and stretch.ready():
            stretch.write(room.arrays, chunk.first + first, chunk.first + stop, first)
            return
        here, work = slice(first, stop), chunk.work[0]
        arrays = {name: one[here] for name, one in room.arrays.items()}
        some = replace(chunk, parts=[replace(work, positions=work.positions[here])], stretch=None)
        self._write(some, arrays, np.empty(stop - first, np.uint64))

    def make(self, chunk: Chunk) -> Filled:
        """Read, run and lay out a chunk."""
        if chunk.stretch is not None and chunk.stretch.ready():
            room = self.room(chunk)
            self.write_rows(chunk, room, 0, chunk.rows)
            return room.filled
        rows = chunk.rows
        filled, arrays = self.room(chunk)
        changed = [name for name, one in self._written.items() if self.specs.get(name) != one]
        raw = {
            **arrays,
            **{name: np.empty((rows, *self._written[name].shape), self._written[name].dtype) for name in changed},
        }
        ids = np.empty(rows, np.uint64)
        loose = self._write(chunk, raw, ids)
        if self.mixers:
            self._mix(chunk, {name: raw[name] for name in self._written}, arrays, ids)
        if loose is not None:
            self._lay_out(loose, filled)
        return filled

    def _write(
        self, chunk: Chunk, arrays: Mapping[str, NDArray[Any]], ids: NDArray[np.uint64]
    ) -> pa.RecordBatch | None:
        """Run all work; returns the loose columns in the chunk's order."""
        parts: list[pa.RecordBatch] = []
        places: list[Any] = []
        for work in chunk.work:
            for piece in work.store.pieces(work.positions, work.scheduled):
                at = piece.places if work.places is None else work.places[piece.places]
                out, copy = scattered(at, {name: arrays[name] for name in work.writer.specs})
                rows = Rows(piece.ids, work.seed, work.epoch)
                rest = work.writer.write(piece, rows, out)
                if copy:
                    for name, values in out.items():
                        arrays[name][at] = values
                ids[at] = piece.ids
                if rest is not None:
                    parts.append(rest)
                    places.append(at)
        return _in_order(parts, places, chunk.rows) if parts else None

    def _mix(
        self,
        chunk: Chunk,
        raw: Mapping[str, NDArray[Any]],
        arrays: Mapping[str, NDArray[Any]],
        ids: NDArray[np.uint64],
    ) -> None:
        """Apply the transforms that mix the rows of a batch."""
        start = 0
        for size in chunk.sizes:
            here = slice(start, start + size)
            out = {name: one[here] for name, one in raw.items()}
            rows = Rows(ids[here], self._spec.seed, chunk.epoch)
            for op, mixer in self.mixers:
                out.update(mixer.apply_batch(out, rows, op))
            for name, values in out.items():
                if name in arrays and not np.shares_memory(values, arrays[name]):
                    arrays[name][here] = values
            start += size

    def _lay_out(self, loose: pa.RecordBatch, filled: Filled) -> None:
        """Text becomes Python lists, lists become tensors of their batch."""
        texts = text_lists(loose.select(self._texts))
        lists, starts = lists_of(loose, self._lists), np.cumsum([0, *filled.sizes]).tolist()
        filled.values = [
            {name: values[first:stop] for name, values in texts.items()}
            for first, stop in zip(starts[:-1], starts[1:], strict=True)
        ]
        if not lists:
            return
        parts = [
            {name: (values, offsets[first : stop + 1]) for name, (values, offsets) in lists.items()}
            for first, stop in zip(starts[:-1], starts[1:], strict=True)
        ]
        slot = self.ring.take(sum(padded(self._spec.ragged.nbytes(one)) for one in parts))
        filled.slots.append(slot)
        for number, part in enumerate(parts):
            filled.values[number].update(self._spec.ragged.lay_out(part, slot, number))


def _check_names(made: Sequence[str], lists: Sequence[str], names: Sequence[str]) -> None:
    taken = set(names) - set(lists)
    for name in made:
        if name in taken:
            raise SchemaError(
                f"column {name!r} is in the data, and laying out the lists ({', '.join(lists)}) adds one of that name; leave it "
                "out with .select(...), or give it another name"
            )


def _in_order(parts: Sequence[pa.RecordBatch], places: Sequence[Any], rows: int) -> pa.RecordBatch:
    """Parts of a chunk put where they belong."""
    if len(parts) == 1 and isinstance(places[0], slice):
        return parts[0]
    gatherer = Gatherer(parts[0].schema)
    slots, inside = np.empty(rows, np.int64), np.empty(rows, np.int64)
    for part, at in zip(parts, places, strict=True):
        slots[at] = gatherer.add(part.select(gatherer.schema.names))
        inside[at] = np.arange(part.num_rows)
    return gatherer.take(slots, inside)
