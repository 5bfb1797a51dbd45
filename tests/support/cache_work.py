"""What the cache tests run in other processes."""

import fcntl
import os
import resource
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from forebay.engine.cache_fill import fill
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_report import verify_cache
from forebay.engine.cache_store import Cache

SCHEMA = pa.schema([("a", pa.int64())])


def key(at: int) -> str:
    return f"{at:032x}"


def made(at: int, rows: int = 2_000) -> list[pa.RecordBatch]:
    """The result that belongs to key `at`."""
    return [pa.record_batch([pa.array(np.arange(at, at + rows))], schema=SCHEMA)]


def right(at: int, batches: list[pa.RecordBatch]) -> bool:
    return batches[0].equals(made(at, batches[0].num_rows)[0])


def churn(directory: str) -> None:
    """Compute and read units for ever, once that is said; killed from outside."""
    cache = Cache(CacheOptions(dir=directory, limit=200_000), label="churn")
    rng = np.random.default_rng(os.getpid())
    sys.stdout.write("at work\n")
    sys.stdout.flush()
    while True:
        at = int(rng.integers(0, 40))
        if not right(at, cache.get_or_compute(key(at), lambda at=at: made(at), SCHEMA)):
            os._exit(9)


def noted(at: int, journal: str, line: str) -> list[pa.RecordBatch]:
    """Compute a unit slowly, and note it."""
    with open(journal, "a", encoding="ascii") as file:
        file.write(f"{line}\n")
    time.sleep(0.02)
    return made(at)


def compute_once(directory: str, journal: str) -> None:
    """Ask for ten units; each computation is noted as one line in `journal`."""
    cache = Cache(CacheOptions(dir=directory), label="shared")

    for at in range(10):
        if not right(at, cache.get_or_compute(key(at), lambda at=at: noted(at, journal, f"{at}"), SCHEMA)):
            os._exit(9)


def refused(directory: str, limit: str, user: str = "") -> None:
    """Use a cache whose directory does not take what it is given: full, or not ours."""
    if limit != "none":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    if user:  # here, not at the start: another user may not be allowed to run this interpreter
        os.setgid(int(user))
        os.setuid(int(user))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        cache = Cache(CacheOptions(dir=directory), label="refused")
        for at in range(5):
            if not right(at, cache.get_or_compute(key(at), lambda at=at: made(at), SCHEMA)):
                os._exit(9)
        cache.close()
    print(cache.counts.hits, len(seen), *(str(one.message) for one in seen))  # noqa: T201  # the test reads it


def hold(directory: str) -> None:
    """Lease unit 0, say so, and hold it until the input closes."""
    unit = Cache(CacheOptions(dir=directory), label="hold").get(key(0))
    sys.stdout.write(f"{unit is not None}\n")
    sys.stdout.flush()
    sys.stdin.read()


def fill_shared(directory: str, journal: str) -> None:
    """Fill a cache of 24 units beside others who do the same; each computation is noted as "process unit"."""
    cache = Cache(CacheOptions(dir=directory), label="shared")

    def unit(at: int) -> bool:
        return right(at, cache.get_or_compute(key(at), lambda: noted(at, journal, f"{os.getpid()} {at}"), SCHEMA))

    found = fill(unit, 24, busy=lambda at: cache.busy(key(at)), local=True, nbytes=lambda at: 1)
    if not all(found):
        os._exit(9)


def leave(directory: str) -> None:
    """Compute three units, and end without a word to the cache."""
    cache = Cache(CacheOptions(dir=directory), label="leave")
    for at in range(3):
        cache.get_or_compute(key(at), lambda at=at: made(at), SCHEMA)


_STEPS = {os: ("open", "write", "fsync", "replace", "unlink", "mkdir", "close", "utime"), fcntl: ("flock",)}


def _die_at(step: int) -> list[str]:
    """Kill this process at its `step`-th call of the system; a write is cut in half first. Gives the calls so far."""
    calls: list[str] = []
    lock = threading.Lock()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            with lock:
                calls.append(name)
                if len(calls) == step:
                    if name == "write":
                        real(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return call

    for module, names in _STEPS.items():
        for name in names:
            setattr(module, name, counted(name, getattr(module, name)))
    return calls


def _some_work(directory: str) -> None:
    """Make folders, compute units, evict some of them, read one, bring all to the disk."""
    cache = Cache(CacheOptions(dir=directory, limit=40_000), label="killed")
    for at in range(3):
        cache.get_or_compute(key(at), lambda at=at: made(at), SCHEMA)
        cache.close()
    cache.get(key(2))
    cache.close()


def killed_at_each_step(directory: str) -> None:
    """For each call of the system, a process that is killed there, and a look at what it left."""
    last, step = {"": ""}, 0
    while "end" not in last:
        step += 1
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            calls = _die_at(step)
            _some_work(directory)
            os.write(writing, " ".join(calls).encode())
            os._exit(0)
        os.close(writing)
        said = os.read(reading, 1 << 16).decode()
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            last = {"end": said}
        if verify_cache(directory).bad:
            os._exit(7)
        after = Cache(CacheOptions(dir=directory, limit=40_000), label="after")
        if os.listdir(os.path.join(directory, "temporary")):
            os._exit(8)
        if sum(one.nbytes for one in after.files.residents()) > 40_000:
            os._exit(9)
        for at in range(3):
            unit = after.get(key(at))
            if unit is not None and not right(at, unit.batches()):
                os._exit(10)
        if step % 3 == 0:  # begin with nothing now and then, else with what the last one left
            shutil.rmtree(directory)
    print(step - 1, last["end"])  # noqa: T201  # the test reads it


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
