"""One run of `loader_torch`, in a process of its own that imports of forebay only what it measures."""

import gc
import json
import os
import statistics
import sys
import time
from typing import Any

from forebay.bench.loader_settings import Setting, as_lists, samples_of
from forebay.bench.process_tree import adopt_orphans, cpu_seconds


def run_child(setting: Setting, loader: str, seconds: float) -> dict[str, Any]:
    """Time to the first batch, then whole epochs for at least `seconds`."""
    count = setting.batch * setting.steps
    samples = samples_of(setting, count)
    made = _loader_class(loader)
    gc.collect()  # else it is chance whose next full collection comes when workers are forked, and copies all that they share
    me = os.getpid()

    def batches_of() -> Any:
        return made(
            samples,
            setting.batch,
            shuffle=True,
            num_workers=setting.workers,
            persistent_workers=setting.persistent and setting.workers > 0,
            collate_fn=as_lists if setting.kind == "lists" else None,
            multiprocessing_context=setting.method,
        )

    if setting.starts:
        began_cpu = cpu_seconds(me)
        found = [_first_batch(batches_of) for _ in range(setting.starts)]
        cpu = (cpu_seconds(me) - began_cpu) / setting.starts
        return {"first_batch_s": statistics.median(found), "samples": 0, "wall_s": 0.0, "cpu_s": cpu}
    began = time.perf_counter()
    batches = batches_of()
    first, delivered = 0.0, 0
    for batch in batches:
        first = first or time.perf_counter() - began
        delivered += len(batch[1])
    assert delivered == count
    delivered, cpu, clock = 0, cpu_seconds(me), time.perf_counter()
    while time.perf_counter() - clock < seconds:
        for batch in batches:
            delivered += len(batch[1])
            if setting.trainer_s:
                batch[0].view(-1)[:: 4096 // batch[0].itemsize].sum()  # a trainer reads what it is given
                time.sleep(setting.trainer_s)
    wall = time.perf_counter() - clock
    return {"first_batch_s": first, "samples": delivered, "wall_s": wall, "cpu_s": cpu_seconds(me) - cpu}


def _loader_class(loader: str) -> Any:
    import torch.utils.data

    if loader == "torch":
        return torch.utils.data.DataLoader
    from forebay.loaders.dataloader import DataLoader

    return DataLoader


def _first_batch(batches_of: Any) -> float:
    """From making the loader; what ends the workers is not counted."""
    began = time.perf_counter()
    iterator = iter(batches_of())
    next(iterator)
    found = time.perf_counter() - began
    del iterator
    return found


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    adopt_orphans()
    result = run_child(Setting(**told["setting"]), told["loader"], told["seconds"])
    sys.stdout.write(json.dumps({"event": "done", **result}) + "\n")
