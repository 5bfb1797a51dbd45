"""A chunk that threads fill together, each some of its rows: a large batch is there sooner, and fewer of them are under way."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

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


class Filler:
    """Chunks that the pool's threads fill, in order: some of them under way, beside what the trainer has."""

    def __init__(self, pool: Executor, maker: ChunkMaker, chunks: Iterable[Chunk], *, ahead: int, parts: int) -> None:
        """`ahead`: chunks, or parts of them, that are begun before the first of them is taken."""
        fillings = (Filling(maker, chunk, max(1, min(parts, chunk.rows))) for chunk in chunks)
        self._tasks = ((filling, part) for filling in fillings for part in range(filling.parts))
        self._pool, self._ahead = pool, ahead
        self._waiting: deque[Future[tuple[Filled, list[int]] | None]] = deque()

    def begin(self) -> None:
        """Begin as many as may be under way. Called once more when the trainer has left a chunk for the next, so that the
        slot of that is free: threads go on, and there is a slot less."""
        while len(self._waiting) < self._ahead and (task := next(self._tasks, None)) is not None:
            self._waiting.append(self._pool.submit(_fill, task))

    def filled(self) -> Iterator[tuple[Filled, list[int]]]:
        """The chunks, each with the position of the epoch after each batch."""
        try:
            # A part that is not the last gives nothing; all before the last are done when that gives the chunk. `filter`
            # holds on to nothing that it has given, as a variable here would.
            yield from filter(None, self._results())
        finally:
            for one in self._waiting:
                one.cancel()

    def _results(self) -> Iterator[tuple[Filled, list[int]] | None]:
        self.begin()
        while self._waiting:
            yield self._waiting.popleft().result()
            self.begin()


def _fill(task: tuple[Filling, int]) -> tuple[Filled, list[int]] | None:
    filling, part = task
    return filling.fill(part)
