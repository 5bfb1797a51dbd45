"""What the attached meter costs per step: `python -m forebay.bench.hooks [--quick]`.

The same loop over batches that are there already runs bare and with `attach(loader, optimizer, hooks=[Meter()])`, in
turn, many times; the figure is the difference of the fastest rounds, in CPU time of the thread, since nothing but the
hook's own Python is to be measured. The optimizer steps on one parameter in every round.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.meter import Meter

PROMISE_US = 20.0
"""The overhead promised per step, in microseconds."""


class Ready:
    """A loader whose batches are there already, so nothing but the loop is timed."""

    def __init__(self, batch: Any, count: int) -> None:
        self._batch = batch
        self._count = count

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        for _ in range(self._count):
            yield batch


def kinds() -> dict[str, Any]:
    """The batches that are counted: a pair of tensors, and tokens with and without a mask to sum."""
    ids = torch.zeros(8, 512, dtype=torch.int64)
    return {
        "images": (torch.zeros(64, 3, 8, 8, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64)),
        "tokens, planned count": {"input_ids": ids, "labels": ids, "num_tokens": 4000},
        "tokens, mask summed": {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)},
    }


def measure(batch: Any, *, steps: int, rounds: int) -> dict[str, float]:
    """Microseconds a step of the bare loop, of the attached one, and their difference."""
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    loader = Ready(batch, steps)

    def loop() -> None:
        for _ in loader:
            optimizer.step()

    bare = attached = float("inf")
    for _ in range(rounds):
        bare = min(bare, _seconds(loop))
        with attach(loader, optimizer, hooks=[Meter(every=steps + 1)]):
            attached = min(attached, _seconds(loop))
    per_step = {"bare_us": 1e6 * bare / steps, "attached_us": 1e6 * attached / steps}
    return {**per_step, "overhead_us": per_step["attached_us"] - per_step["bare_us"]}


def _seconds(work: Callable[[], None]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print a table, and return it."""
    parser = argparse.ArgumentParser(description="What the attached meter costs per step.")
    parser.add_argument("--quick", action="store_true", help="few steps: shows that it runs, not how fast")
    quick = parser.parse_args(arguments).quick
    torch.set_num_threads(1)
    steps, rounds = (300, 3) if quick else (5000, 15)
    table = {kind: measure(batch, steps=steps, rounds=rounds) for kind, batch in kinds().items()}
    lines = [f"{'batch':<24}{'bare us':>10}{'attached us':>13}{'overhead us':>13}"]
    lines += [
        f"{kind:<24}{row['bare_us']:>10.2f}{row['attached_us']:>13.2f}{row['overhead_us']:>13.2f}"
        for kind, row in table.items()
    ]
    worst = max(row["overhead_us"] for row in table.values())
    lines.append(f"promised: under {PROMISE_US:.0f} us a step; largest overhead {worst:.2f} us")
    sys.stdout.write("\n".join(lines) + "\n")
    return table


if __name__ == "__main__":
    main()
