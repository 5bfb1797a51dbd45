"""A chunk that threads fill together, each some of its rows: a large batch is there sooner, and fewer of them are under way."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from forebay.loaders.chunk import Chunk, ChunkMaker, Room
from forebay.loaders.filled import Filled

Done = tuple[Filled, list[int]]
"""A filled chunk, and the position of the epoch after each of its batches."""


@dataclass(slots=True)
class Filling:
    """A chunk in `parts`, which any threads write."""

    maker: ChunkMaker
    chunk: Chunk
    parts: int
    done: "Future[Done]" = field(default_factory=Future)
    _left: int = field(init=False)
    _room: Room | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left = self.parts

    def prepare(self) -> None:
        """Find out all that can be known before a part is written."""
        if self.chunk.stretch is not None:
            self.chunk.stretch.ready()

    def fill(self, part: int) -> None:
        """Write one part. Whoever writes the last one ends `done`."""
        try:
            room = self._filled(part)
        except BaseException as error:  # noqa: BLE001 - it is raised where the chunk would have come
            with self._lock:
                if not self.done.done():
                    self.done.set_exception(error)
            return
        if room is not None:
            self.done.set_result((room.filled, self.chunk.untils))

    def _filled(self, part: int) -> Room | None:
        """The chunk's room, if this was the last part of it."""
        chunk, maker = self.chunk, self.maker
        if self.parts == 1:
            return Room(maker.make(chunk), {})
        self.prepare()
        with self._lock:  # whoever begins takes the slot: chunks that nobody writes have none
            if self._room is None:
                self._room = maker.room(chunk)
            room = self._room
        first, stop = chunk.rows * part // self.parts, chunk.rows * (part + 1) // self.parts
        maker.write_rows(chunk, room, first, stop)
        with self._lock:
            self._left -= 1
            if self._left:
                return None
            self._room = None
        return room


class Filler:
    """Chunks that the pool's threads fill, in order: some of them under way, beside what the trainer has."""

    def __init__(self, pool: Executor, maker: ChunkMaker, chunks: Iterable[Chunk], *, ahead: int, parts: int) -> None:
        """`ahead`: chunks, or parts of them, that are begun before the first of them is taken."""
        self._fillings = (Filling(maker, chunk, max(1, min(parts, chunk.rows))) for chunk in chunks)
        self._pool, self._most = pool, -(-ahead // parts)
        self._under_way: deque[tuple[Filling, list[Future[None]]]] = deque()
        self._coming: deque[Filling] = deque()
        """Chunks that are known and not begun: one, and where they are of stretches those up to the next stretch."""

    def begin(self) -> None:
        """Begin as many as may be under way. Called once more when the trainer has left a chunk for the next, so that the
        slot of that is free: threads go on, and there is a slot less."""
        while len(self._under_way) < self._most:
            filling = self._next()
            if filling is None:
                return
            self._under_way.append((filling, self._tasks(filling)))

    def filled(self) -> Iterator[Done]:
        """The chunks, each with the position of the epoch after each batch."""
        try:
            self.begin()
            while self._under_way:
                yield self._under_way.popleft()[0].done.result()  # without a name here, which would hold on to it
                self.begin()
        finally:
            for _, tasks in self._under_way:
                for one in tasks:
                    one.cancel()

    def _next(self) -> Filling | None:
        coming = self._coming
        while len(coming) < (2 if coming and coming[0].chunk.stretch is not None else 1) or coming[-1].chunk.first:
            filling = next(self._fillings, None)
            if filling is None:
                break
            coming.append(filling)
        return coming.popleft() if coming else None

    def _tasks(self, filling: Filling) -> "list[Future[None]]":
        """Give a chunk's parts to the pool.

        What is to be known of the next stretch is found out behind the first part of this one: then no thread waits for another
        that does so, nor for bytes that are looked at for the first time.
        """
        last = self._coming[-1] if self._coming and filling.chunk.first == 0 else None
        tasks = [self._pool.submit(filling.fill, 0)]
        if last is not None and last.chunk.first == 0:
            tasks.append(self._pool.submit(last.prepare))
        return [*tasks, *(self._pool.submit(filling.fill, part) for part in range(1, filling.parts))]
