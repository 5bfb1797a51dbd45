"""A chunk that threads fill together, each some of its rows: a large batch is there sooner, and fewer of them are under way."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from forebay.loaders.chunk import Chunk, ChunkMaker, Room
from forebay.loaders.feed_threads import FeedThreads
from forebay.loaders.filled import Filled

Done = tuple[Filled, list[int]]
"""A filled chunk, and the position of the epoch after each of its batches."""


@dataclass(slots=True)
class Filling:
    """A chunk in `parts`, which any threads write."""

    maker: ChunkMaker
    chunk: Chunk
    parts: int
    _left: int = field(init=False)
    _room: Room | None = None
    _made: Done | BaseException | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unmade: threading.Lock = field(default_factory=threading.Lock)
    """Held until all is written, or nothing more will be: a future does the same and more, in many times the time."""

    def __post_init__(self) -> None:
        self._left = self.parts
        self._unmade.acquire()

    def prepare(self) -> None:
        """Find out all that can be known before a part is written. What fails is met again by whoever writes."""
        if self.chunk.stretch is not None:
            with suppress(Exception):
                self.chunk.stretch.ready()

    def fill(self, part: int) -> None:
        """Write one part. Whoever writes the last one ends the wait for `result`."""
        try:
            room = self._filled(part)
        except BaseException as error:  # noqa: BLE001 - it is raised where the chunk would have come
            with self._lock:
                if self._made is None:
                    self._made = error
                    self._unmade.release()
            return
        if room is not None:
            self._made = (room.filled, self.chunk.untils)
            self._unmade.release()

    def result(self) -> Done:
        """Wait for the filled chunk, and let go of it.

        Raises:
            Exception: what was raised while it was filled.
        """
        self._unmade.acquire()
        made, self._made = self._made, None
        if isinstance(made, BaseException):
            raise made
        assert made is not None
        return made

    def _filled(self, part: int) -> Room | None:
        """The chunk's room, if this was the last part of it."""
        chunk, maker = self.chunk, self.maker
        if self.parts == 1:
            return Room(maker.make(chunk), {})
        if chunk.stretch is not None:
            chunk.stretch.ready()
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
    """Chunks that threads fill, in order: some of them under way, beside what the trainer has."""

    def __init__(
        self, threads: FeedThreads, maker: ChunkMaker, chunks: Iterable[Chunk], *, ahead: int, parts: int
    ) -> None:
        """`ahead`: chunks, or parts of them, that are begun before the first of them is taken."""
        self._fillings = (Filling(maker, chunk, max(1, min(parts, chunk.rows))) for chunk in chunks)
        self._threads, self._most = threads, -(-ahead // parts)
        self._under_way: deque[Filling] = deque()
        self._coming: deque[Filling] = deque()
        """Chunks that are known and not begun: one, and where they are of stretches those up to the next stretch."""

    def begin(self) -> None:
        """Begin as many as may be under way. Called once more when the trainer has left a chunk for the next, so that the
        slot of that is free: threads go on, and there is a slot less."""
        while len(self._under_way) < self._most:
            filling = self._next()
            if filling is None:
                return
            self._under_way.append(filling)
            self._give(filling)

    def filled(self) -> Iterator[Done]:
        """The chunks, each with the position of the epoch after each batch."""
        self.begin()
        while self._under_way:
            yield self._under_way.popleft().result()  # without a name here, which would hold on to it
            self.begin()

    def _next(self) -> Filling | None:
        coming = self._coming
        while len(coming) < (2 if coming and coming[0].chunk.stretch is not None else 1) or coming[-1].chunk.first:
            filling = next(self._fillings, None)
            if filling is None:
                break
            coming.append(filling)
        return coming.popleft() if coming else None

    def _give(self, filling: Filling) -> None:
        """Give a chunk's parts to the threads.

        What is to be known of the next stretch is found out behind the first part of this one: then no thread waits for another
        that does so, nor for bytes that are looked at for the first time.
        """
        last = self._coming[-1] if self._coming and filling.chunk.first == 0 else None
        self._threads.begin(partial(filling.fill, 0))
        if last is not None and last.chunk.first == 0:
            self._threads.begin(last.prepare)
        for part in range(1, filling.parts):
            self._threads.begin(partial(filling.fill, part))
