"""Fetching: many ranges of remote objects at once, with retries, and a second request for one that lags."""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from forebay.formats.errors import SpecError
from forebay.formats.lent_memory import SHARED
from forebay.formats.remote_ranges import Range
from forebay.formats.retry import RetryPolicy, with_retries

_KEPT = 128
"""Latencies that are remembered to tell what is late."""
_SPELL, _FADES = 0.25, 0.98
"""Seconds over which the bandwidth is taken, and what a measurement counts for after each: half after 9 seconds."""
_SUPPOSED_BANDWIDTH, _SURE_AFTER = 1.25e9, 4
"""Bytes a second of a store that has not been measured yet, a link of 10 gigabits; and how many measurements it takes to
believe in less: in the first ones connections are being made, and bytes count when their request has ended."""
_LOOK_AGAIN = 0.25
"""Seconds to wait for more latencies where there are too few yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteOptions:
    """How remote objects are read."""

    connections: int = 16
    """Requests at once, of all files of a store together."""
    part_bytes: int = 16 << 20
    """Length of a long range's requests; `connections * part_bytes` bounds the memory of requests in flight."""
    gap_bytes: int = 256 << 10
    """Ranges that lie closer become one request."""
    hedge_after: float = 3.0
    """A request that takes this many times the 95th percentile gets a rival; 0: never."""
    hedge_share: float = 0.05
    """Most that rivals ask for, as a share of all bytes: a store that is slow as a whole is not asked twice for everything."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if self.connections < 1 or self.part_bytes < 1 or self.gap_bytes < 0:
            raise SpecError(
                f"connections={self.connections}, part_bytes={self.part_bytes}, gap_bytes={self.gap_bytes}; expected at "
                "least 1, 1 and 0"
            )
        if not 0 <= self.hedge_share <= 1:
            raise SpecError(f"hedge_share is {self.hedge_share}; expected 0 to 1")


class ShortReadError(OSError):
    """Fewer bytes came than were asked for."""


@dataclass(slots=True)
class FetchCounts:
    """What was asked of a store."""

    requests: int = 0
    nbytes: int = 0
    retries: int = 0
    hedges: int = 0
    hedges_won: int = 0


ReadInto = Callable[[Range, memoryview], int]
"""(part, target) -> bytes that came. Raises OSError."""


class Fetcher:
    """The connections of one store, and the memory that what they bring lands in. Thread-safe."""

    def __init__(self, options: RemoteOptions) -> None:
        self.options = options
        self.counts = FetchCounts()
        self.memory = SHARED
        weakref.finalize(self, self.memory.spare).atexit = False
        self._pool = ThreadPoolExecutor(options.connections, thread_name_prefix="forebay-remote")
        # rivals have connections of their own: the late ones hold those of the pool
        self._rivals = ThreadPoolExecutor(max(1, options.connections // 4), thread_name_prefix="forebay-hedge")
        self._lock = threading.Lock()
        self._took: tuple[deque[float], deque[float]] = deque(maxlen=_KEPT), deque(maxlen=_KEPT)
        """Of short and of long requests: what is late for one is not for the other."""
        self._hedged_bytes = 0
        self._least_seconds = self._bandwidth = self._round_trip = 0.0
        self._since, self._nbytes_since, self._under_way = time.monotonic(), 0, 0
        self._spells = 0

    def keeps_busy(self) -> int:
        """Bytes begun and not used yet that keep the store busy: its bandwidth times the least that a long request took, which
        is the distance to it without the queues that one's own requests make; at least four requests. Before that is known, the
        quickest answer to a question tells how far the store is, and a link of ten gigabits is supposed: a store far away
        gets as much to do from the beginning, while more from a near one would only come before what is due first.

        That product is N. Cardwell et al., BBR: Congestion-Based Congestion Control, 2016. It is taken four times, since
        windows take what is ready many parts at once, answers come in any order, and a read through pyarrow waits for the
        object's version behind its bytes, the first of a file for its layout before them.
        """
        options = self.options
        with self._lock:
            product, surely = self._least_seconds * self._bandwidth, self._spells >= _SURE_AFTER
        product = product if surely else max(product, self.supposed_under_way())
        most = options.connections * options.part_bytes
        return min(max(4 * options.part_bytes, int(4 * product)), most)

    def supposed_under_way(self) -> int:
        """Bytes that come, over a link of ten gigabits, in the time of the quickest answer to a question."""
        with self._lock:
            return int(self._round_trip * _SUPPOSED_BANDWIDTH)

    def count(self, nbytes: int) -> None:
        """Something was asked for beside what was started here."""
        with self._lock:
            self.counts.requests += 1
            self.counts.nbytes += nbytes

    def answered(self, seconds: float) -> None:
        """A short question took so long."""
        with self._lock:
            self._round_trip = min(self._round_trip or seconds, seconds)

    def start(self, read: ReadInto, part: Range, target: memoryview) -> Future[None]:
        """Begin to fetch a part into `target`."""
        return self._pool.submit(self._one, read, part, target)

    def finish(self, read: ReadInto, part: Range, future: Future[None]) -> bytearray | None:
        """Wait for a part; a rival is sent out where it is late. None when the part came where it belongs, else the bytes
        that the rival got: the late one may still come, and write.

        Raises:
            OSError: the store's last error when patience ended.
        """
        late = None
        while late is None:
            late = self._late(part)
            done, _ = wait([future], timeout=_LOOK_AGAIN if late is None else late)
            if done:
                return future.result()
        if not future.running() or not self._may_hedge(part):
            return future.result()
        data = bytearray(part[1] - part[0])
        rival = self._rivals.submit(self._one, read, part, memoryview(data))
        done, _ = wait([future, rival], return_when=FIRST_COMPLETED)
        if future in done and future.exception() is None:
            return None
        if rival.exception() is not None:  # waits for it, where the late one failed
            return future.result()
        with self._lock:
            self.counts.hedges_won += 1
        return data

    def _one(self, read: ReadInto, part: Range, target: memoryview) -> None:
        def once() -> None:
            began = time.monotonic()
            with self._lock:
                self.counts.requests += 1
                if not self._under_way:  # while nothing is asked for, there is no bandwidth
                    self._since, self._nbytes_since = began, 0
                self._under_way += 1
            try:
                count = read(part, target)
                if count != len(target):
                    raise ShortReadError(f"{count} bytes came of {len(target)} that were asked for")
            finally:
                with self._lock:
                    self._under_way -= 1
            with self._lock:
                self._measure(time.monotonic(), began, count)

        def pause(seconds: float) -> None:
            with self._lock:
                self.counts.retries += 1
            time.sleep(seconds)

        with_retries(once, self.options.retry, sleep=pause)

    def _measure(self, now: float, began: float, count: int) -> None:
        self._took[self._long(count)].append(now - began)
        self.counts.nbytes += count
        self._nbytes_since += count
        if now - self._since > _SPELL:
            self._bandwidth = max(_FADES * self._bandwidth, self._nbytes_since / (now - self._since))
            self._since, self._nbytes_since = now, 0
            self._spells += 1
            self._least_seconds /= _FADES  # a store that has come to be farther away is noticed
        if self._long(count):
            self._least_seconds = min(self._least_seconds or now - began, now - began)

    def _late(self, part: Range) -> float | None:
        with self._lock:
            took = self._took[self._long(part[1] - part[0])]
            if not self.options.hedge_after or len(took) < 16:
                return None
            ordered = sorted(took)
        return max(0.05, self.options.hedge_after * ordered[int(0.95 * len(ordered))])

    def _long(self, count: int) -> bool:
        return 2 * count >= self.options.part_bytes

    def _may_hedge(self, part: Range) -> bool:
        size = part[1] - part[0]
        with self._lock:
            if self._hedged_bytes + size > self.options.hedge_share * self.counts.nbytes:
                return False
            self._hedged_bytes += size
            self.counts.hedges += 1
            return True
