"""Which units this process has hashed, or written itself: all of a unit is hashed on its first touch, and once."""

import os
import threading

from forebay.engine.cache_unit import Unit


class Trust:
    """Units by inode, time and size. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[tuple[int, int, int]] = set()

    def add(self, stat: os.stat_result) -> None:
        """The bytes of this file are right."""
        with self._lock:
            self._known.add(_mark(stat))

    def intact(self, path: str, unit: Unit) -> bool:
        """Whether the unit's bytes hash to its checksum; looked at only when this process has not yet."""
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            return unit.intact()
        with self._lock:
            known = _mark(stat) in self._known
        if known:
            return True
        if not unit.intact():
            return False
        self.add(stat)
        return True


def _mark(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
