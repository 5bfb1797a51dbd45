"""A chunk that threads fill together, each some of its rows: a large batch is there sooner, and fewer of them are under way."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

from forebay.engine.ordered import in_order
from forebay.loaders.chunk import Chunk, ChunkMaker, Room
from forebay.loaders.filled import Filled


@dataclass(slots=True)
class Filling:
    """A chunk in `parts`, which `fill` writes in any threads."""

    maker: ChunkMaker
    chunk: Chunk
    parts: int
    _room: Room | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, part: int) -> tuple[Filled, list[int]] | None:
        """Write one part. The last one gives the chunk, with the position of the epoch after each batch."""
        chunk, maker = self.chunk, self.maker
        if self.parts == 1:
            return maker.make(chunk), chunk.untils
        with self._lock:  # whoever begins takes the slot: chunks that nobody works at have none
            if self._room is None:
                self._room = maker.room(chunk)
            room = self._room
        maker.write_rows(chunk, room, chunk.rows * part // self.parts, chunk.rows * (part + 1) // self.parts)
        return (room.filled, chunk.untils) if part == self.parts - 1 else None


def fill_in_order(
    pool: Executor, maker: ChunkMaker, chunks: Iterable[Chunk], *, threads: int, parts: int
) -> Iterator[tuple[Filled, list[int]]]:
    """The chunks, filled by the pool's `threads`, in order.

    One more than there are threads is under way, beside what the trainer has: chunks, or parts of them.
    """
    fillings = (Filling(maker, chunk, max(1, min(parts, chunk.rows))) for chunk in chunks)
    tasks = ((filling, part) for filling in fillings for part in range(filling.parts))
    # A part that is not the last gives nothing; all before the last are done when that gives the chunk. `filter` holds on
    # to nothing that it has given, as a variable here would.
    yield from filter(None, in_order(pool, _fill, tasks, ahead=threads + 1))


def _fill(task: tuple[Filling, int]) -> tuple[Filled, list[int]] | None:
    filling, part = task
    return filling.fill(part)
