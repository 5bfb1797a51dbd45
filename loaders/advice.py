"""`madvise` for memory that belongs to no `mmap` object: that of tensors, and files that Arrow has mapped."""

import ctypes
from functools import cache
from typing import Any


def advise(start: int, nbytes: int, what: int) -> None:
    """Tell the system what will become of whole pages from `start` on, one of `mmap.MADV_*`. Where it refuses, they are as they
    were."""
    _madvise()(start, nbytes, what)


@cache
def _madvise() -> Any:
    found = ctypes.CDLL(None).madvise
    found.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return found
