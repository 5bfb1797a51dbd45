"""The feed: an epoch's steps become reads, stages, and batches in slots, some steps ahead of the trainer."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor

from forebay.engine.dataset import Dataset
from forebay.engine.epoch_order import EpochOrder
from forebay.engine.mix import Mixture
from forebay.formats.errors import SchemaError
from forebay.loaders import device
from forebay.loaders.batching import Batching, PlainBatching, Steps
from forebay.loaders.chunk import Chunk, ChunkMaker
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.feed_threads import FeedThreads
from forebay.loaders.filled import Batch, Filled
from forebay.loaders.filling import Filler
from forebay.loaders.length_batching import LengthBatching
from forebay.loaders.member import Member, pass_number
from forebay.loaders.python_pool import PythonPool
from forebay.loaders.ring import Ring
from forebay.loaders.slot import slot_bytes
from forebay.loaders.work import Stretch, Work

CHUNK_BYTES = 8 << 20
"""Bytes prepared in one go, as several batches where those are small: a thread then works for a millisecond or so between
two hand-overs, and what it wrote is still in the cache when the trainer reads it."""
STRETCHED_BYTES, DECODED_BYTES = 4 << 20, 5 << 20
"""The same where what is known of rows is found out for many chunks at once, which leaves little to do beside writing them; and
where they are decoded from files, which takes many times as long as to copy them (`python -m forebay.bench.held tabular`)."""
_MOST_BATCHES = 256
STRETCH = 8
"""Chunks of which all is found out at once that can be known before they are written."""
_GROWTH = 4
"""How many times as many batches as the one before a chunk at the beginning of an iteration has."""

Release = Callable[[Filled], None]
Deliver = Callable[[Iterator[tuple[Filled, list[int]]], Release], Iterator[tuple[list[Batch], list[int]]]]
"""From filled chunks to batches: over the slots themselves, or copied to a device a chunk ahead. A chunk is released when
nothing reads its slots any more on its way."""


class Feed:
    """Makes the batches of one rank. Threads share it; an epoch's iteration holds all that changes."""

    def __init__(self, dataset: Dataset | Mixture, spec: FeedSpec, *, deliver: Deliver | None = None) -> None:
        self.spec = spec
        self._mixture = dataset if isinstance(dataset, Mixture) else None
        datasets = dataset.datasets if isinstance(dataset, Mixture) else (dataset,)
        self._mixed = None if self._mixture is None else self._mixture.order(spec.dealt_lanes)
        self._processes = PythonPool(datasets, spec.python_processes) if spec.python_processes else None
        self._threads = max(spec.threads, spec.python_processes)  # a thread waits for each process
        run = self._processes.runner if self._processes else lambda number: None
        self.members = [
            Member(one, spec, number=number, share=_share(dataset, spec), run=run(number))
            for number, one in enumerate(datasets)
        ]
        gpu = device.number()
        self.ring = Ring(pinned=gpu is not None, gpu=gpu, keep=self._threads + 4, overwrite=spec.overwrite)
        self._makers = [ChunkMaker(one, spec, self.ring) for one in self.members]
        if any(one.specs != self._makers[0].specs for one in self._makers):
            raise SchemaError("the data sets of the mixture give batches of different shapes or types")
        if len({tuple(mixer for _, mixer in one.mixers) for one in self._makers}) > 1:
            raise SchemaError(
                "the data sets of the mixture end in different transforms of batches (MixUp, CutMix), and a batch holds rows "
                "of all of them, so give each the same"
            )
        self.batching = self._batching()
        row_bytes = max(self._makers[0].row_bytes, 1)
        rows = self.batching.rows_of_a_batch()
        alone, first = self._mixture is None, self.members[0]
        self._stretched = alone and first.anywhere and self._makers[0].plain
        most = CHUNK_BYTES if not (self._stretched and first.writer.gathers) else min(CHUNK_BYTES, STRETCHED_BYTES)
        most = most if all(one.anywhere for one in self.members) else min(CHUNK_BYTES, DECODED_BYTES)
        self._batches_a_chunk = min(max(1, most // (row_bytes * rows)), _MOST_BATCHES)
        self.ring.least = slot_bytes(self._batches_a_chunk * rows, list(self._makers[0].specs.values()))
        self._parts = self._makers[0].parts(self._batches_a_chunk * rows, self._threads) if alone else 1
        self._deliver = deliver or _as_they_are

    def order(self, epoch: int) -> EpochOrder:
        """The order of an epoch; of the first member in a mixture."""
        return self.members[0].order(epoch)

    def epoch(self, epoch: int, position: int) -> Iterator[tuple[Batch, int]]:
        """(batch, rows given by then on all ranks) from `position` to the epoch's end."""
        threads = self._threads
        pool = FeedThreads(threads) if threads else None
        if self._processes is not None:
            self._processes.start()
        for member in self.members:
            member.begin()
        chunks = self._chunks(epoch, position, pool)
        filler = Filler(pool, self._makers[0], chunks, ahead=self._ahead, parts=self._parts) if pool else None
        filled = filler.filled() if filler else map(self._made, chunks)
        try:
            for batches, untils in self._deliver(filled, self._release):
                pairs = zip(batches, untils, strict=True)
                del batches
                yield next(pairs)
                if filler:
                    filler.begin()
                yield from pairs
                del pairs  # it holds the last batch
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)
            for member in self.members:
                member.begin()  # the last windows are not held until there is another pass

    def _release(self, filled: Filled) -> None:
        for slot in filled.slots:
            self.ring.give_back(slot)

    def _made(self, chunk: Chunk) -> tuple[Filled, list[int]]:
        return self._makers[0].make(chunk), chunk.untils

    @property
    def _ahead(self) -> int:
        """Chunks, or parts of them, under way: one for each thread, and one more where the trainer's step from a batch to the
        next is one from a chunk to the next."""
        return max(self._threads + (self._parts > 1 or self._batches_a_chunk == 1), 2)

    def _chunks(self, epoch: int, position: int, pool: Executor | None) -> Iterator[Chunk]:
        in_parts, most = self._parts > 1, self._batches_a_chunk
        if not self._stretched:
            for steps in self._steps(epoch, position, most):
                work = self._work(epoch, steps, pool)
                yield Chunk(epoch, steps.sizes, steps.untils, work, Stretch(work[0]) if in_parts else None)
            return
        for steps in self._steps(epoch, position, most * STRETCH):
            (whole,) = self._work(epoch, steps, pool)
            stretch, first = Stretch(whole), 0
            for at in range(0, len(steps.sizes), most):
                sizes = steps.sizes[at : at + most]
                yield Chunk(epoch, sizes, steps.untils[at : at + most], [], stretch, first)
                first += sum(sizes)

    def _steps(self, epoch: int, position: int, most: int) -> Iterator[Steps]:
        """`most` steps at a time, but one at first, since the first batch is to wait for nothing but itself, then more."""
        batches = 1
        while batches < most:
            steps = next(self.batching.steps(epoch, position, batches), None)
            if steps is None:
                return
            yield steps
            position, batches = steps.untils[-1], batches * _GROWTH
        yield from self.batching.steps(epoch, position, most)

    def _work(self, epoch: int, steps: Steps, pool: Executor | None) -> list[Work]:
        if self._mixed is None:
            member = self.members[0]
            store = member.store(epoch, own=steps.own)
            scheduled = store.schedule(steps.positions, steps.floor, pool)
            return [Work(member.writer, store, scheduled, member.seed, epoch, steps.positions, None)]
        found = []
        floors = self._mixed.floors(steps.floor)
        for which, parts in enumerate(self._mixed.split(steps.positions)):
            member, (first_lap, first) = self.members[which], floors[which]
            for at, lap, rows in parts:
                number, body = pass_number(epoch, lap), self._mixed.lap(which, lap).body
                store = member.store(number, body=body)
                scheduled = store.schedule(rows, first if lap == first_lap else 0, pool)
                found.append(Work(member.writer, store, scheduled, member.seed, number, rows, at))
        return found

    def _batching(self) -> Batching:
        by = self.spec.by_length
        if self._mixture is not None:
            return PlainBatching(self.spec, self._mixture.rows(self.spec.dealt_lanes))
        member = self.members[0]
        if by is None:
            return PlainBatching(self.spec, member.rows)
        return LengthBatching(self.spec, by, member.lengths(by), order_of=self.order, window_rows=member.window_rows)


def _share(dataset: Dataset | Mixture, spec: FeedSpec) -> tuple[int, int] | None:
    """(rank, world size) where this rank's positions of each member are each W-th one; None where it may be given any."""
    if isinstance(dataset, Mixture):
        rows = dataset.rows(spec.dealt_lanes)
        own = spec.dealt and (rows is None or rows >= spec.world_size)
    elif spec.by_length is not None:
        own = spec.dealt
    else:
        own = len(dataset.selection) >= spec.world_size  # else a rank without a row is given another's
    return (spec.rank, spec.world_size) if own else None


def _as_they_are(
    chunks: Iterator[tuple[Filled, list[int]]], release: Release
) -> Iterator[tuple[list[Batch], list[int]]]:
    for filled, untils in chunks:
        yield filled.batches(), untils
        release(filled)
        del filled  # and with it the lease, before the next chunk is waited for
