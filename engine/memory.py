"""One memory budget for all threads of a run: work waits for room before it starts."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Bytes of memory this process holds now, whoever allocated them (Arrow, NumPy, the interpreter)."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * _PAGE


@dataclass(slots=True)
class MemoryBudget:
    """Bytes that work in progress may hold together.

    Each piece of work reserves what it expects to need. What it really needs is seen in the resident size: while that is
    above the limit, no further piece starts, unless nothing else runs (a single piece that needs more than the limit must
    still get through, and the report shows the peak).
    """

    limit: int | None
    """Bytes for the whole process; None: no limit."""
    _reserved: int = 0
    _running: int = 0
    _peak: int = 0
    _turn: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def peak(self) -> int:
        """Largest resident size seen at a start or end of a piece of work, in bytes."""
        return self._peak

    @contextmanager
    def reserve(self, nbytes: int) -> Iterator[None]:
        """Wait until `nbytes` more fit, hold them for the length of the block."""
        with self._turn:
            # A wait is woken by whoever gives room back; the timeout is for memory that others (a cache, the user's own
            # code) give back without telling.
            while not self._fits(nbytes):
                self._turn.wait(timeout=0.05)
            self._reserved += nbytes
            self._running += 1
        try:
            yield
        finally:
            with self._turn:
                self._note_peak()
                self._reserved -= nbytes
                self._running -= 1
                self._turn.notify_all()

    def _fits(self, nbytes: int) -> bool:
        now = self._note_peak()
        if self.limit is None or self._running == 0:
            return True
        return self._reserved + nbytes <= self.limit and now < self.limit

    def _note_peak(self) -> int:
        now = resident_bytes()
        self._peak = max(self._peak, now)
        return now


def parse_bytes(text: str | int | None) -> int | None:
    """Bytes of "2GB", "512MB", "1.5GiB" or a plain number; None stays None.

    Raises:
        SpecError: it is not a size.
    """
    from forebay.formats.errors import SpecError

    if text is None or isinstance(text, int):
        return text
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    units |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
    stripped = text.strip()
    digits = stripped.rstrip("BbKkMmGgTtIi ")
    unit = stripped[len(digits) :].strip().upper()
    try:
        return int(float(digits) * units[unit])
    except (ValueError, KeyError) as error:
        raise SpecError(f"a size is {text!r}; expected a number with a unit, such as 2GB, 512MB or 1GiB") from error
