"""The journal: what a run has finished, so that a killed one redoes only the rest."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forebay.formats.errors import StateError

NAME = "_journal.jsonl"
VERSION = 1


class Journal:
    """An append-only file of JSON lines in the output directory: a header, then one line for each finished unit.

    A line counts once its newline is on disk, so a line that a kill cut short is dropped on reading.
    """

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self._path = directory / NAME
        self._fingerprint = fingerprint
        self.done: dict[int, dict[str, Any]] = {}
        """Unit index -> what was recorded for it."""

    @contextmanager
    def open(self) -> Iterator["Journal"]:
        """Take the directory for this run, read what an earlier one finished, and go on behind it.

        Raises:
            StateError: another process writes here now, or the journal is that of another recipe or input.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock(descriptor)
            self._recover(descriptor)
            self._descriptor = descriptor
            yield self
        finally:
            os.close(descriptor)

    def record(self, unit: int, entry: dict[str, Any]) -> None:
        """Note that `unit` is finished: its shards must be on disk by now."""
        self._append(self._descriptor, {"unit": unit, **entry})
        self.done[unit] = entry

    def remove(self) -> None:
        """The manifest has taken over."""
        self._path.unlink(missing_ok=True)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(
                f"{self._path.parent}: another process is writing here now; wait for it, or choose another output"
            ) from error

    def _recover(self, descriptor: int) -> None:
        with open(os.dup(descriptor), "rb") as file:
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        if not lines:
            os.ftruncate(descriptor, 0)
            self._append(descriptor, {"version": VERSION, "fingerprint": self._fingerprint})
            return
        header = lines[0]
        if header.get("version") != VERSION or header.get("fingerprint") != self._fingerprint:
            raise StateError(
                f"{self._path.parent} holds an unfinished run of another recipe, input or setting (fingerprint "
                f"{header.get('fingerprint')}, now {self._fingerprint}); finish that one, choose another output, or start "
                "over with overwrite=True (--overwrite)"
            )
        os.ftruncate(descriptor, len(whole))
        os.lseek(descriptor, 0, os.SEEK_END)
        self.done = {line.pop("unit"): line for line in lines[1:]}

    @staticmethod
    def _append(descriptor: int, line: dict[str, Any]) -> None:
        os.lseek(descriptor, 0, os.SEEK_END)
        os.write(descriptor, json.dumps(line, sort_keys=True).encode() + b"\n")
        os.fsync(descriptor)
