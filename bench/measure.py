"""One run of a candidate in a process of its own, watched from outside."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from forebay.bench.job import Job
from forebay.bench.process_tree import descendants, memory, waiting_shared

_STEP_S = 0.05
_SHARE = 0.1
"""Most of the time that looking at memory may take: the kernel walks every page for it, which two cores would miss."""


@dataclass(slots=True)
class Watched:
    """What a run gave and what it took."""

    message: dict[str, Any]
    """The child's last message: event "done" with its figures, or "failed" with a reason."""
    peak_pss: int = 0
    """Bytes; the largest sum over the tree that was seen."""
    peak_without_files: int = 0
    peak_held: int = 0
    """As `peak_pss`, with shared memory that is only held open; 0 where that was not asked for."""
    total_s: float = 0.0
    log: str = field(default="", repr=False)
    """The end of what the child wrote to standard error."""

    @property
    def ok(self) -> bool:
        return bool(self.message.get("event") == "done")

    def look(self, pid: int, *, shared: bool) -> float:
        """What the tree holds now; the seconds that it took to find out."""
        began = time.perf_counter()
        held = memory(pid)
        self.peak_pss = max(self.peak_pss, held.pss)
        self.peak_without_files = max(self.peak_without_files, held.without_files)
        if shared:
            self.peak_held = max(self.peak_held, held.pss + waiting_shared(pid))
        return time.perf_counter() - began


def run_job(
    python: str, job: Job, *, timeout_s: float, sample: bool = True, look: Callable[[int], None] | None = None
) -> Watched:
    """Run a job with an interpreter; after `timeout_s` the whole tree is ended and that is the result."""
    command = [python, "-m", "forebay.bench.child", json.dumps(job.to_json())]
    return run_watched(command, timeout_s=timeout_s, sample=sample, shared=True, look=look)


def run_watched(
    command: list[str],
    *,
    timeout_s: float,
    sample: bool = True,
    shared: bool = False,
    look: Callable[[int], None] | None = None,
) -> Watched:
    """Run a command that says what it found in lines of JSON; after `timeout_s` its whole tree is ended.

    A command that says `"event": "clock"` is not looked at from there until it says "stopped"; then once, and it is told.
    `shared`: look for shared memory that is only held open, too. `look` is called with the process's number at that last look.
    """
    began = time.perf_counter()
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment(), text=True, start_new_session=True
    )
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    lines: list[str] = []
    errors: list[str] = []
    readers = [_reader(child.stdout, lines), _reader(child.stderr, errors)]
    watched = Watched({"event": "failed", "reason": f"took longer than {timeout_s:.0f} s"})
    next_look, answered = began if sample else float("inf"), False
    while child.poll() is None:
        now = time.perf_counter()
        if now - began > timeout_s:
            _end_tree(child.pid)
            break
        if _said(lines, "stopped"):
            if not answered:
                watched.look(child.pid, shared=shared)
                if look is not None:
                    look(child.pid)
                _answer(child.stdin)
                answered = True
        elif now >= next_look and not _said(lines, "clock"):
            next_look = now + max(_STEP_S, watched.look(child.pid, shared=shared) / _SHARE)
        time.sleep(_STEP_S)
    else:
        watched.message = {"event": "failed", "reason": f"ended without a word, exit code {child.returncode}"}
    child.wait()
    child.stdin.close()
    _end_session(child.pid)
    for one in readers:
        one.join(timeout=5)
    last = next((line for line in reversed(lines) if _told(line)), None)
    if last is not None:
        watched.message = json.loads(last)
    watched.total_s = time.perf_counter() - began
    watched.log = "".join(errors)[-2000:]
    return watched


def _told(line: str) -> bool:
    return line.startswith("{") and line.endswith("}\n") and not any(_said([line], one) for one in ("clock", "stopped"))


def _said(lines: list[str], event: str) -> bool:
    return any(line == f'{{"event": "{event}"}}\n' for line in lines)


def _answer(stream: IO[str]) -> None:
    try:
        stream.write("seen\n")
        stream.flush()
    except BrokenPipeError:
        return  # it did not wait


def environment() -> dict[str, str]:
    """The child's environment: this process's, with quiet peers that ask no server for anything."""
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry and _holds_forebay(entry)),
    }
    return {**os.environ, **quiet}


def _holds_forebay(entry: str) -> bool:
    # not the environment's own packages: before a peer's they would undo its pins, and its .pth file has them behind
    return os.path.isdir(os.path.join(entry, "forebay")) and entry != sysconfig.get_paths()["purelib"]


def _reader(stream: IO[str], into: list[str]) -> threading.Thread:
    def read() -> None:
        with stream:
            for line in stream:
                into.append(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _end_tree(root: int) -> None:
    for pid in reversed(descendants(root)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _end_session(leader: int) -> None:
    """End what a finished child left running: its process group has its number."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
