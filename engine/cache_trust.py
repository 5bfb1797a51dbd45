"""What this process knows of units: what it wrote itself, and which blocks of the others it has hashed, each of them once."""

import os
import threading

from forebay.engine.cache_blocks import BlockCheck
from forebay.engine.cache_unit import Unit, mark_of


class Trust:
    """Units by inode, time and size. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: set[tuple[int, int, int]] = set()
        self._known: dict[tuple[int, int, int], BlockCheck] = {}

    def add(self, stat: os.stat_result) -> None:
        """The bytes of this file are right."""
        with self._lock:
            self._written.add(mark_of(stat))

    def of(self, unit: Unit) -> BlockCheck:
        """What is known of a unit's blocks, by whatever mapping of the file they were looked at."""
        with self._lock:
            check = self._known.setdefault(unit.mark, unit.check)
            if unit.mark in self._written:
                check.trust()
            return check

    def intact(self, unit: Unit) -> bool:
        """Whether the unit's bytes hash to their checksums; what this process knows is not looked at again."""
        return self.of(unit).all_right(memoryview(unit.payload))
