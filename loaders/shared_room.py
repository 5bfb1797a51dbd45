"""How much shared memory batches may use here: what the machine and the container still have."""

import contextlib
import os
from pathlib import Path

SHM = "/dev/shm"


def default_arena_bytes() -> int:
    """Half of the memory that is free now, on the machine and in the container; without memfd, half of /dev/shm."""
    room = memory_left()
    if not hasattr(os, "memfd_create"):
        room = min(room, shm_left())
    return room // 2


def memory_left() -> int:
    """Bytes that can be allocated before the machine or the container's limit is reached."""
    found = [left for left in (_machine_left(), _container_left()) if left is not None]
    return max(0, min(found, default=1 << 30))


def shm_left() -> int:
    """Free bytes of /dev/shm, which torch's own transport uses; 0 where there is none."""
    try:
        found = os.statvfs(SHM)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def check_shm(nbytes: int) -> None:
    """Before torch's transport takes /dev/shm: too little of it would be a bus error, which says nothing.

    Raises:
        RuntimeError: fewer bytes are free there.
    """
    left = shm_left()
    if nbytes > left and os.path.isdir(SHM):
        raise RuntimeError(
            f"a batch of {readable(nbytes)} has no slot, and {SHM}, which torch's transport uses, has {readable(left)} "
            f"left: give the container more (docker run --shm-size), raise arena_bytes=, or lower batch_size= or prefetch_factor="
        )


def readable(size: int) -> str:
    """A number of bytes for people."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _machine_left() -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return None


def _container_left() -> int | None:
    """Of cgroup v2 or v1, where a limit is set; page cache is counted as free, since the kernel drops it."""
    for limit_file, used_file, cache_key in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        with contextlib.suppress(OSError, ValueError):
            limit, used = int(Path(limit_file).read_text()), int(Path(used_file).read_text())
            with contextlib.suppress(OSError):
                for line in (Path(limit_file).parent / "memory.stat").read_text().splitlines():
                    if line.startswith(f"{cache_key} "):
                        used -= int(line.split()[1])
            return limit - used
    return None
