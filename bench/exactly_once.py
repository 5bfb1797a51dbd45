"""Whether a loader delivers every sample exactly once in an epoch, with the promised shapes, types and values."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

_FAULTS_TOLD = 5


def check(job: Any, workload: Any, loader: Any) -> dict[str, Any]:
    """Go through two epochs and compare: `{"exactly_once": bool, "values": bool, "faults": [...]}`.

    Limits deliver nothing, so there is nothing to check about them.
    """
    if job.limit:
        return {"exactly_once": True, "values": True, "faults": []}
    expected = workload.samples(job.data_path)
    oracle = workload.Oracle(job.data_path)
    once, values = True, True
    faults: list[str] = []
    for number in range(2):
        delivered = []
        for ids, wrong in _looked_at(workload, oracle, loader.epoch(number), job.batch or workload.BATCH):
            delivered.append(ids)
            values = values and not wrong
            faults += wrong[: max(0, _FAULTS_TOLD - len(faults))]
        told = count_faults(np.concatenate(delivered) if delivered else np.zeros(0, np.int64), expected)
        once = once and not told
        faults += [f"epoch {number}: {one}" for one in told]
    return {"exactly_once": once, "values": values, "faults": faults}


def count_faults(ids: Any, expected: int) -> list[str]:
    """What is wrong with the ids of an epoch that should hold 0 .. expected - 1, each once."""
    found = np.asarray(ids, np.int64)
    inside = found[(found >= 0) & (found < expected)]
    counts = np.bincount(inside, minlength=expected)
    faults = []
    if len(inside) != len(found):
        faults.append(f"{len(found) - len(inside)} samples with ids that do not exist")
    if (counts == 0).any():
        faults.append(f"{int((counts == 0).sum())} of {expected} samples missing")
    if (counts > 1).any():
        faults.append(f"{int((counts > 1).sum())} of {expected} samples more than once")
    return faults


def _looked_at(workload: Any, oracle: Any, batches: Iterator[Any], size: int) -> Iterator[tuple[Any, list[str]]]:
    contract = getattr(workload, "contract_faults", None) or partial(contract_faults, workload)
    for batch in batches:
        wrong = contract(batch, size)
        if not wrong:
            wrong = oracle.faults(batch)
        yield workload.ids(batch), wrong


def contract_faults(workload: Any, batch: Any, size: int) -> list[str]:
    """Where a batch differs from the workload's shapes and types; the last batch may be short."""
    import torch

    if len(batch) != len(workload.CONTRACT):
        return [f"a batch has {len(batch)} parts; expected {len(workload.CONTRACT)}"]
    faults = []
    for part, (name, shape, dtype) in zip(batch, workload.CONTRACT, strict=True):
        if not isinstance(part, torch.Tensor):
            faults.append(f"{name} is a {type(part).__name__}; expected a torch tensor")
        elif part.dtype != getattr(torch, dtype) or tuple(part.shape[1:]) != shape or len(part) > size:
            faults.append(f"{name} is {part.dtype} {tuple(part.shape)}; expected {dtype} ({size}, *{shape})")
    return faults
