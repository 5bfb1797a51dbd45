"""Write-behind: who computed a unit goes on with it at once, while it is brought to the disk and published."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

from forebay.engine.cache_backlog import Backlog
from forebay.engine.cache_publish import Publisher, Written
from forebay.engine.cache_trust import Trust
from forebay.engine.cache_unit import Unit, UnitSink, map_unit


class WriteBehind:
    """Units on their way into a cache. Thread-safe."""

    def __init__(self, publisher: Publisher, trust: Trust) -> None:
        self._publisher, self._trust = publisher, trust
        self._lock = threading.Lock()
        self._coming: dict[str, Unit] = {}
        self._backlog = Backlog()

    def coming(self, key: str) -> Unit | None:
        """The unit, where it is written and not published yet."""
        return self._coming.get(key)

    def add(
        self,
        key: str,
        kind: Literal["arrow", "bytes"],
        write: Callable[[UnitSink], object],
        *,
        held: ExitStack | None = None,
    ) -> Unit | None:
        """Write a unit, and publish it when its bytes are on the disk. None where the disk does not take it.

        Args:
            key: its key.
            kind: of payload.
            write: writes the payload.
            held: what to let go of when the unit is published or refused: the lock under which it was computed.
        """
        written = self._publisher.write(key, kind, write)
        if written is None:
            return None
        unit = map_unit(written.file.descriptor, written.file.path)
        with self._lock:
            self._coming[key] = unit
        later = held.pop_all() if held else ExitStack()

        def publish() -> None:
            with later:
                try:
                    self.publish(written)
                finally:
                    with self._lock:
                        self._coming.pop(key, None)

        self._backlog.add(written.stat.st_size, publish)
        return unit

    def publish(self, written: Written) -> bool:
        """Publish a unit now; says whether it was kept."""
        self._trust.add(written.stat)  # first: another thread may open it as soon as it has its name
        return self._publisher.publish(written)

    def raise_failed(self) -> None:
        """Raise what publishing failed with since the last call, once."""
        self._backlog.raise_failed()

    def wait(self) -> None:
        """Return when nothing is left to publish.

        Raises:
            StorageError: the disk failed in a way that is neither full nor forbidden.
        """
        self._backlog.wait()
