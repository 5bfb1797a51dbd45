"""What the cache tests run in other processes."""

import os
import resource
import sys
import time
import warnings

import numpy as np
import pyarrow as pa

from forebay.engine.cache_options import CacheOptions
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
    """Compute and read units for ever; killed from outside."""
    cache = Cache(CacheOptions(dir=directory, limit=200_000), label="churn")
    rng = np.random.default_rng(os.getpid())
    while True:
        at = int(rng.integers(0, 40))
        if not right(at, cache.get_or_compute(key(at), lambda at=at: made(at), SCHEMA)):
            os._exit(9)


def compute_once(directory: str, journal: str) -> None:
    """Ask for ten units; each computation is noted as one line in `journal`."""
    cache = Cache(CacheOptions(dir=directory), label="shared")

    def slow(at: int) -> list[pa.RecordBatch]:
        with open(journal, "a", encoding="ascii") as file:
            file.write(f"{at}\n")
        time.sleep(0.02)
        return made(at)

    for at in range(10):
        if not right(at, cache.get_or_compute(key(at), lambda at=at: slow(at), SCHEMA)):
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


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
