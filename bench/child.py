"""The child process: makes one peer's loader and prepares, checks or times it. `python -m forebay.bench.child JOB`.

Speaks one line of JSON a message on standard output; whatever a peer prints goes to standard error. Around what is timed it says
"clock" and "stopped", and then waits for a line, so that memory is looked at while the loader is alive and the clock is not.
"""

import gc
import importlib
import json
import os
import select
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, TextIO

BEGAN = time.perf_counter()


def main() -> None:
    """Do the job that the command line holds."""
    from forebay.bench.job import Job
    from forebay.bench.process_tree import adopt_orphans

    speak, hear = os.fdopen(os.dup(1), "w"), os.dup(0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    adopt_orphans()
    try:
        say(speak, {"event": "done", **run(Job(**json.loads(sys.argv[1])), Watch(speak, hear))})
    except BaseException as error:  # noqa: BLE001 - whatever a peer raises is a result: the table says why
        traceback.print_exc()
        say(speak, {"event": "failed", "reason": f"{type(error).__name__}: {error}"[:500]})
    finally:
        speak.flush()
        # peers leave threads and daemons behind that would keep the process; nothing of ours is unsaved here
        os._exit(0)


def say(speak: TextIO, message: dict[str, Any]) -> None:
    """One message to the suite."""
    speak.write(json.dumps(message) + "\n")
    speak.flush()


@dataclass(frozen=True, slots=True)
class Watch:
    """The line to the suite."""

    speak: TextIO
    hear: int

    def begin(self) -> None:
        """The clock starts: from here on nobody looks."""
        say(self.speak, {"event": "clock"})

    def stop(self) -> None:
        """The clock has stopped; wait until the suite has looked, or a moment."""
        say(self.speak, {"event": "stopped"})
        select.select([self.hear], [], [], _LOOK_S)


_LOOK_S = 10.0


def run(job: Any, watch: Watch) -> dict[str, Any]:
    """What the mode gives: seconds of preparation, faults found, or times."""
    workload = importlib.import_module(f"forebay.bench.workloads.{job.workload}")
    peer = importlib.import_module(f"forebay.bench.peers.{job.peer}")
    if job.mode == "prepare":
        prepare = getattr(peer, f"prepare_{job.workload}", None)
        began = time.perf_counter()
        if prepare is not None:
            prepare(job)
        return {"prepare_s": time.perf_counter() - began}
    if job.mode == "check":
        from forebay.bench.exactly_once import check

        return check(job, workload, getattr(peer, job.workload)(job, **job.settings))
    if not job.limit:
        import torch  # noqa: F401  # every trainer has it loaded before it makes a loader
    imports = getattr(peer, "imports", None)
    if imports is not None:
        imports(job.workload)
    # else it is chance whose next full collection comes when workers are forked, and copies all that they share
    gc.collect()
    return timed(job, workload, getattr(peer, job.workload), watch)


def timed(job: Any, workload: Any, make: Any, watch: Watch) -> dict[str, Any]:
    """Time to the first batch, then samples, wall and CPU seconds of what follows."""
    from forebay.bench.process_tree import bytes_read, cpu_seconds

    me = os.getpid()
    start_cpu, began = cpu_seconds(me), time.perf_counter()
    loader = make(job, **job.settings)
    batches, number = loader.epoch(0), 0
    counted = workload.count(next(batches))
    first, first_cpu = time.perf_counter() - began, cpu_seconds(me) - start_cpu
    ended = False
    while job.warm_s is None or time.perf_counter() - began - first < job.warm_s:
        batch = next(batches, None)
        if batch is None:
            ended = True
            break
        counted = workload.count(batch)
    watch.begin()
    cpu, read, samples = cpu_seconds(me), bytes_read(me), 0
    clock = time.perf_counter()
    if ended:
        number += 1
        batches = loader.epoch(number)
    while True:
        batch = next(batches, None)
        now = time.perf_counter()
        if batch is None:
            if job.measure_s is None or now - clock >= job.measure_s:
                break
            number += 1
            batches = loader.epoch(number)
            continue
        counted = workload.count(batch)
        samples += counted
        if job.measure_s is not None and now - clock >= job.measure_s:
            break
    wall = time.perf_counter() - clock
    after, cpu = bytes_read(me), cpu_seconds(me) - cpu
    watch.stop()
    return {
        "first_batch_s": first,
        "first_cpu_s": first_cpu,
        "start_s": began + first - BEGAN,
        "samples": samples,
        "wall_s": wall,
        "cpu_s": cpu,
        "read_calls_bytes": after[0] - read[0],
        "read_disk_bytes": after[1] - read[1],
        "epochs": number + 1,
    }


if __name__ == "__main__":
    main()
