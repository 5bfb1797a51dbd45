"""What a process tree holds, by kind of mapping, from /proc: libraries, heaps, buffers, data files, shared memory."""

import re
from pathlib import Path

from forebay.bench.process_tree import descendants

_LIBRARIES = {"torch": "/torch/", "Arrow": "/pyarrow/", "NumPy": "/numpy"}
_LARGE = 1 << 20
"""Bytes of an anonymous mapping from which on it is told apart: a buffer, an arena of Python's or of malloc's."""
_HEADER = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")

KINDS = (
    *(f"{name}, {part}" for name in (*_LIBRARIES, "Python", "other libraries") for part in ("code", "written")),
    "heap",
    "large anonymous",
    "small anonymous",
    "stack",
    "shared memory",
    "data files",
)
"""In the order of a table; "written" are pages of a library that are this process's own."""


def held_by_kind(root: int) -> dict[str, int]:
    """Bytes (PSS) of each kind, over the process and all below it."""
    found = dict.fromkeys(KINDS, 0)
    for pid in descendants(root):
        try:
            text = Path(f"/proc/{pid}/smaps").read_text()
        except OSError:
            continue
        for name, values in _mappings(text):
            held = values.get("Pss", 0)
            written = min(values.get("Anonymous", 0), held)
            for kind, size in _split(name, values.get("Size", 0), held, written):
                found[kind] += size
    return found


def _mappings(text: str) -> list[tuple[str, dict[str, int]]]:
    """(what is mapped, field -> bytes) of each mapping in the text of /proc/PID/smaps."""
    found: list[tuple[str, dict[str, int]]] = []
    for line in text.splitlines():
        if _HEADER.match(line):
            parts = line.split(maxsplit=5)
            found.append((parts[5] if len(parts) == 6 else "", {}))
        elif line.endswith(" kB"):
            name, value, _ = line.split()
            found[-1][1][name.rstrip(":")] = int(value) * 1024
    return found


def _split(name: str, size: int, held: int, written: int) -> list[tuple[str, int]]:
    """(kind, bytes) of one mapping."""
    if name.startswith(("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero")):
        return [("shared memory", held)]
    if name == "[heap]":
        return [("heap", held)]
    if name.startswith("[stack"):
        return [("stack", held)]
    if not name.startswith("/"):
        return [("large anonymous" if size >= _LARGE else "small anonymous", held)]
    if ".so" not in name.rpartition("/")[2] and "/bin/" not in name:
        return [("data files", held)]
    owner = next((one for one, part in _LIBRARIES.items() if part in name), None)
    if owner is None:
        owner = "Python" if "python" in name.rpartition("/")[2] or "/lib-dynload/" in name else "other libraries"
    return [(f"{owner}, code", held - written), (f"{owner}, written", written)]
