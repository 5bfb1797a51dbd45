"""Counters of a cache: hits, misses and bytes by label, kept on disk so that `forebay cache ls` can tell hit rates.

A process counts in memory and adds to the file now and then: a killed process loses a few seconds of counting, no data.
"""

import json
import os
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, fields

from forebay.engine.file_lock import exclusive

_EVERY = 5.0
"""Seconds between two writes."""


@dataclass(slots=True)
class Counts:
    """What happened under one label."""

    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    """Bytes of payload that hits gave."""
    stored: int = 0
    """Units published."""
    stored_bytes: int = 0
    refused: int = 0
    """Units that were not kept: no room, or not worth what they would have displaced."""
    evicted: int = 0
    bad: int = 0
    """Units whose bytes did not match their checksum."""

    def add(self, other: "Counts") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def hit_rate(self) -> float:
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class Counters:
    """The counts of this process, and the file they are added to. Thread-safe."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "counters.json")
        self._lock = threading.Lock()
        self._fresh: dict[str, Counts] = {}
        self._total: dict[str, Counts] = {}
        self._written = time.monotonic()

    def count(self, label: str, **amounts: int) -> None:
        with self._lock:
            for counts in (self._fresh.setdefault(label, Counts()), self._total.setdefault(label, Counts())):
                counts.add(Counts(**amounts))
            due = time.monotonic() - self._written > _EVERY
        if due:
            self.flush()

    def here(self, label: str) -> Counts:
        """What this process counted."""
        with self._lock:
            return self._total.get(label, Counts())

    def flush(self) -> None:
        """Add what is new to the file. In a directory that cannot be written nothing is kept, and nothing fails."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
            self._written = time.monotonic()
        if not fresh:
            return
        with suppress(OSError), exclusive(f"{self._path}.lock", patience=1.0) as mine:
            if mine:
                kept = read_counters(os.path.dirname(self._path))
                for label, counts in fresh.items():
                    kept.setdefault(label, Counts()).add(counts)
                _replace(self._path, kept)


def read_counters(directory: str) -> dict[str, Counts]:
    """The counts of all processes so far, by label; empty where there are none that can be read."""
    try:
        with open(os.path.join(directory, "counters.json"), encoding="utf-8") as file:
            return {label: Counts(**value) for label, value in json.load(file).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _replace(path: str, counts: dict[str, Counts]) -> None:
    temporary = f"{path}.{uuid.uuid4().hex[:8]}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(
                {label: {f.name: getattr(one, f.name) for f in fields(one)} for label, one in counts.items()}, file
            )
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
