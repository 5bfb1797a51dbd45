"""A `StreamBackend` that writes down what is asked of it, so the order of stream operations is proved without a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class RecordedMark:
    """A mark that passes when the test says so."""

    name: str
    log: list[tuple[str, ...]]
    passed: bool = False

    def query(self) -> bool:
        return self.passed

    def synchronize(self) -> None:
        self.log.append(("synchronize", self.name))
        self.passed = True


@dataclass
class RecordingStreams:
    """Streams are strings; `log` holds the operations in order, each with the names of its streams."""

    log: list[tuple[str, ...]] = field(default_factory=list)
    busy: bool = False
    marks: list[RecordedMark] = field(default_factory=list)
    made: int = 0
    _current: str = "consumer"

    def new_stream(self) -> str:
        self.made += 1
        self.log.append(("new", f"side{self.made}"))
        return f"side{self.made}"

    def current(self) -> str:
        return self._current

    @contextmanager
    def use(self, stream: str) -> Iterator[None]:
        before, self._current = self._current, stream
        self.log.append(("enter", stream))
        try:
            yield
        finally:
            self._current = before
            self.log.append(("leave", stream))

    def wait(self, waiter: str, awaited: str) -> None:
        self.log.append(("wait", waiter, awaited))

    def record(self, tensor: torch.Tensor, stream: str) -> None:
        self.log.append(("record", stream))

    def mark(self, stream: str) -> RecordedMark:
        mark = RecordedMark(f"mark{len(self.marks) + 1}", self.log)
        self.marks.append(mark)
        self.log.append(("mark", stream))
        return mark

    def idle(self) -> bool:
        return not self.busy

    def note(self, *what: Any) -> None:
        """Write something of the test's own into the same log, such as a copy."""
        self.log.append(tuple(map(str, what)))
