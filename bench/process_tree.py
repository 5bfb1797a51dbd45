"""CPU time, memory and bytes read of a process and everything below it, from /proc."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SHARED = ("/dev/shm/", "/memfd:")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, summed over a tree; each shared page is counted once, in parts (PSS)."""

    pss: int
    without_files: int
    """Without pages of files, which the kernel can drop and read again."""


def descendants(root: int) -> list[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        fields = _stat(int(entry))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, left = [], [root]
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, with that of children that ended and were waited for."""
    total = 0
    for pid in descendants(root):
        fields = _stat(pid)
        if fields:
            total += sum(int(value) for value in fields[11:15])  # utime, stime, cutime, cstime
    return total / _TICKS


def bytes_read(root: int) -> tuple[int, int]:
    """(asked for by read calls, fetched from the disk); reads through memory maps are in the second only."""
    asked = fetched = 0
    for pid in descendants(root):
        try:
            text = Path(f"/proc/{pid}/io").read_text()
        except OSError:
            continue
        values = dict(line.split(": ") for line in text.splitlines())
        asked += int(values.get("rchar", 0))
        fetched += int(values.get("read_bytes", 0))
    return asked, fetched


def memory(root: int) -> Memory:
    """What the tree holds now."""
    pss = files = 0
    for pid in descendants(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                pss += int(line.split()[1])
            elif line.startswith("Pss_File:"):
                files += int(line.split()[1])
    return Memory(pss * 1024, (pss - files) * 1024)


def waiting_shared(root: int) -> int:
    """Bytes of shared memory that the tree holds by open files only, mapped by none of it: no PSS tells of these.

    Batches of torch's loader lie so between the worker that made them and the loader that takes them, those of forebay's in
    slots whose pages nobody has mapped.
    """
    held: dict[int, int] = {}
    mapped: dict[int, int] = {}
    for pid in descendants(root):
        try:
            entries = os.listdir(f"/proc/{pid}/fd")
            for number, size in _shared_maps(Path(f"/proc/{pid}/smaps").read_text()):
                mapped[number] = mapped.get(number, 0) + size
        except OSError:
            continue
        for entry in entries:
            path = f"/proc/{pid}/fd/{entry}"
            try:
                if os.readlink(path).startswith(_SHARED):
                    found = os.stat(path)
                    held[found.st_ino] = found.st_blocks * 512
            except OSError:
                continue
    return sum(max(0, size - mapped.get(number, 0)) for number, size in held.items())


def _shared_maps(smaps: str) -> Iterator[tuple[int, int]]:
    """Inodes of shared memory in the text of /proc/PID/smaps, and how much of each is mapped (PSS)."""
    number = 0
    for line in smaps.splitlines():
        if line.startswith("Pss:") and number:
            yield number, int(line.split()[1]) * 1024
        elif "-" in line.partition(" ")[0]:
            parts = line.split(maxsplit=5)
            number = int(parts[4]) if len(parts) == 6 and parts[5].startswith(_SHARED) else 0


def adopt_orphans() -> None:
    """Let processes whose parents end fall to this one (Linux), so that their CPU time stays in the tree."""
    import ctypes

    pr_set_child_subreaper = 36
    try:
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)
    except (OSError, AttributeError):
        return  # not Linux: orphans are lost to the count, nothing else


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on, or None if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
