"""What the command prints: results on standard output, everything else on standard error; a live bar on a terminal only."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forebay.engine.write import Progress

_PLAIN_EVERY_SECONDS = 2.0


def say(text: str) -> None:
    """One line of result."""
    sys.stdout.write(text + "\n")


def say_json(value: Any) -> None:
    """The result for machines."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def complain(text: str) -> None:
    """One line of error."""
    sys.stderr.write(f"forebay: {text}\n")


@contextmanager
def progress(what: str, *, quiet: bool) -> Iterator["Bar"]:
    """A bar with rows/s, MB/s, rows set aside and time left on a terminal; a plain line every two seconds elsewhere."""
    bar = Bar(what, quiet=quiet)
    try:
        yield bar
    finally:
        bar.close()


class Bar:
    """Shows how far a run is. Called from worker threads."""

    def __init__(self, what: str, *, quiet: bool) -> None:
        self._what, self._quiet = what, quiet
        self._start = self._shown = time.monotonic()
        self._live: Any = None
        self._task: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Live

            self._live = Live(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%  {task.fields[rates]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._live.start()
            self._task = self._live.add_task(what, total=None, rates="")

    def show(self, now: Progress) -> None:
        """Take in the state of the run."""
        spent = max(time.monotonic() - self._start, 1e-9)
        rates = ""
        if now.rows:  # who only tells how far it is has none
            rates = f"{now.rows / spent:,.0f} rows/s  {now.nbytes / spent / 1e6:,.1f} MB/s  {now.bad:,} set aside"
        if self._live:
            self._live.update(self._task, completed=now.nbytes, total=now.total_bytes, rates=rates)
        elif not self._quiet and time.monotonic() - self._shown >= _PLAIN_EVERY_SECONDS:
            self._shown = time.monotonic()
            share = now.nbytes / max(now.total_bytes, 1)
            told = f", {now.rows:,} rows, {rates}" if rates else ""
            sys.stderr.write(f"{self._what}: {share:.0%}{told}\n")
            sys.stderr.flush()

    def close(self) -> None:
        if self._live:
            self._live.stop()
