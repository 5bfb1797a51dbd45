"""Memory that is lent, for what comes over the network and for pixels, and used again when the last view of it is gone.

The system clears each page of fresh memory before a process gets it, which took more of the processor than receiving the
bytes did (`python -m forebay.bench.remote`). All stores of a process share what is kept: the next data set finds it, too.
"""

import mmap
import os
import threading
import weakref
from collections import OrderedDict, deque

import numpy as np
import pyarrow as pa

KEPT_BYTES = 384 << 20
"""Most bytes that are kept while nobody uses them."""

_LEAST = 1 << 20
"""Shorter buffers come from Arrow's allocator, which does not go to the system for them."""


class SpanMemory:
    """Hands out buffers. Thread-safe.

    A buffer's memory is taken back when the last slice, array or memoryview of it dies, in whichever thread: also that of a
    request that came too late and still writes.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self.begin_anew()

    def begin_anew(self) -> None:
        """Keep nothing. In a forked process a lock that another thread held would never be given back."""
        self.made = 0
        """Bytes asked of the system so far."""
        self._lock = threading.Lock()
        self._free: OrderedDict[int, mmap.mmap] = OrderedDict()  # by id, longest unused first
        self._back: deque[mmap.mmap] = deque()

    def take(self, nbytes: int) -> tuple[pa.Buffer, memoryview]:
        """(a buffer of `nbytes`, a view to write to). What is in it is left from before."""
        if nbytes < _LEAST:
            small = pa.allocate_buffer(nbytes)
            return small, memoryview(small).cast("B")
        capacity = _rounded(nbytes)
        with self._lock:
            self._settle()
            memory = self._fitting(capacity)
            if memory is None:
                self.made += capacity
        if memory is None:
            memory = mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):  # a fault for 2 MiB instead of 512
                memory.madvise(mmap.MADV_HUGEPAGE)
        # NumPy ties views to the last array of a chain of them: the lease lies over a memoryview, so that it is that array
        lease = np.frombuffer(memoryview(memory)[:nbytes], np.uint8)
        # a finalizer may run at any point of any thread, also within this class: it takes no lock
        weakref.finalize(lease, self._back.append, memory).atexit = False
        return pa.py_buffer(lease), lease.data

    @property
    def free_bytes(self) -> int:
        """Bytes kept for the next one who asks."""
        with self._lock:
            self._settle()
            return sum(len(one) for one in self._free.values())

    def spare(self) -> None:
        """Nothing will be asked for soon: the system may have what is kept, if it needs it; until then it can be lent again."""
        if not hasattr(mmap, "MADV_FREE") or not self._lock.acquire(blocking=False):
            return  # called by a finalizer, perhaps in the very thread that holds the lock
        try:
            self._settle()
            for one in self._free.values():
                one.madvise(mmap.MADV_FREE)
        finally:
            self._lock.release()

    def let_go(self) -> None:
        """Nothing will be asked for soon: the system has back what is kept."""
        with self._lock:
            self._settle()
            self._free.clear()

    def _settle(self) -> None:
        while self._back:
            memory = self._back.popleft()
            self._free[id(memory)] = memory
        kept = sum(len(one) for one in self._free.values())
        while kept > self._kept_bytes:
            kept -= len(self._free.popitem(last=False)[1])

    def _fitting(self, capacity: int) -> mmap.mmap | None:
        """The free memory that was used last, among what is at most a quarter too large."""
        for key, memory in reversed(self._free.items()):
            if capacity <= len(memory) <= capacity + capacity // 4:
                return self._free.pop(key)
        return None


SHARED = SpanMemory()
"""That of this process, for what comes over the network."""
PIXELS = SpanMemory(64 << 20)
"""That of this process, for pixels that were decoded to be written or kept."""


if hasattr(os, "register_at_fork"):
    for _one in (SHARED, PIXELS):
        os.register_at_fork(after_in_child=_one.begin_anew)


def _rounded(nbytes: int) -> int:
    """A 64th more, up to a multiple of a sixteenth of the power of two below: spans of about the same size share memory, also
    such of a round number of bytes with a header and without."""
    step = max(mmap.PAGESIZE, 1 << max(0, nbytes.bit_length() - 5))
    return -(-(nbytes + nbytes // 64) // step) * step
