"""Locks between processes of one node, by `flock`: the kernel frees them when their owner dies, however it dies."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FIRST_WAIT = 0.002
_LONGEST_WAIT = 0.05


def share(descriptor: int) -> None:
    """Hold a shared lock on an open file until every copy of the descriptor is closed. Some file systems have none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK):
            raise


def try_exclusive(descriptor: int) -> bool:
    """Take the exclusive lock if nobody holds one, without waiting."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held_elsewhere(path: str) -> bool:
    """Whether somebody holds the lock named `path` now. Makes no file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_exclusive(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: str, *, patience: float = 0.0, remove: bool = False) -> Iterator[bool]:
    """Hold the lock named `path` for the block; gives False where another kept it for longer than `patience` seconds.

    Args:
        path: the lock's file, made when it is not there.
        patience: seconds to wait; `math.inf` waits for ever.
        remove: take the file away at the end, so that locks of many keys do not pile up.

    Raises:
        OSError: the file cannot be made (a read-only directory, a full disk).
    """
    descriptor = _wait(path, patience)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        if remove:
            # while the lock is held: whoever waits for it sees that the file is gone, and makes a new one
            with suppress(FileNotFoundError):
                os.unlink(path)
        os.close(descriptor)


def _wait(path: str, patience: float) -> int | None:
    deadline, pause = time.monotonic() + patience, _FIRST_WAIT
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if try_exclusive(descriptor):
            if _is_at(descriptor, path):
                return descriptor
            os.close(descriptor)
            continue
        os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_WAIT)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
