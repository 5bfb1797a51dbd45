"""forebay's loader beside torch's own, over the same torch data sets: `python -m forebay.bench.loader_torch [SET ...]`.

Sets of settings:
    ready: samples are 3x224x224 float32 arrays that are there already, batch 64: only moving them costs anything.
    slow: a millisecond of Python a sample, batch 32; the share of what the workers could make at most is told, too.
    trainer: as ready, for a trainer that takes 100 ms a batch, so that workers get as far ahead as they may: memory and CPU time.
    grid: ready samples of 1 KB to 2 MB, batches of 1 to 512. Batches of more than 256 MB are left out: five of them are on
        their way at any time.
    kinds: batches of 32 with other contents: 30 small tensors each, text, lists of arrays that are not collated; and epochs
        of 8 batches whose workers are started anew each time.

Each run is a process of its own with the same number of workers; the two loaders take turns. Rates are those of whole epochs
after the first, by wall time and by CPU time of the whole process tree; PSS is the largest sum over that tree; "and held open"
adds shared memory that no process has mapped at the moment: batches of torch's loader that wait to be taken.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forebay.bench.measure import run_watched
from forebay.bench.process_tree import adopt_orphans, cpu_seconds
from forebay.bench.workloads.python_samples import SlowSamples

LOADERS = ("torch", "forebay")
IMAGE_BYTES = 3 * 224 * 224 * 4
GRID_BYTES = (1 << 10, 16 << 10, 128 << 10, IMAGE_BYTES, 2 << 20)
GRID_BATCHES = (1, 8, 64, 512)
LARGEST_BATCH = 256 << 20
_SLOW_SECONDS = 1e-3
_MARK = "--child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table."""

    name: str
    sample_bytes: int
    """0: samples of `SlowSamples`."""
    batch: int
    workers: int = 2
    steps: int = 128
    """Batches of an epoch."""
    kind: str = ""
    """Key of `KINDS`, instead of arrays of so many bytes."""
    persistent: bool = True
    trainer_s: float = 0.0
    """What the trainer takes for a batch, without work of the CPU."""

    @property
    def ideal(self) -> float | None:
        """Samples a second that the workers make at most; None: nothing but moving limits it."""
        return None if self.sample_bytes else self.workers / _SLOW_SECONDS


class ReadySamples:
    """A map-style data set of float32 arrays that are there already, with their numbers."""

    def __init__(self, count: int, nbytes: int) -> None:
        self._count = count
        kept = max(1, min(64, (64 << 20) // nbytes))
        shape = (3, 224, 224) if nbytes == IMAGE_BYTES else (nbytes // 4,)
        self._arrays = np.random.default_rng(0).random((kept, *shape), np.float32)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._arrays[index % len(self._arrays)], index


class _Made:
    """A map-style data set of what `make` gives for an index, with the index."""

    def __init__(self, count: int, make: Callable[[int], Any]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._make(index), index


_SMALL = np.zeros(8, np.float32)
KINDS: dict[str, Callable[[int], Any]] = {
    "tensors": lambda index: {f"field{number}": _SMALL for number in range(30)},
    "text": lambda index: f"sample {index} " * 20,
    "lists": lambda index: np.ones(1000 + index % 500, np.float32),
    "start": lambda index: _SMALL,
}


def _as_lists(samples: list[Any]) -> Any:
    return [one for one, _ in samples], [index for _, index in samples]


def _samples(setting: Setting, count: int) -> Any:
    if setting.kind:
        return _Made(count, KINDS[setting.kind])
    return ReadySamples(count, setting.sample_bytes) if setting.sample_bytes else SlowSamples(count, _SLOW_SECONDS)


def _grid(quick: bool) -> Iterator[Setting]:
    for nbytes in GRID_BYTES[:2] if quick else GRID_BYTES:
        for batch in GRID_BATCHES[:2] if quick else GRID_BATCHES:
            if nbytes * batch <= LARGEST_BATCH:
                steps = max(32, min(2048, (512 << 20) // (nbytes * batch)))
                yield Setting(name=f"grid {nbytes >> 10} KB x {batch}", sample_bytes=nbytes, batch=batch, steps=steps)


SETS: dict[str, Callable[[bool], list[Setting]]] = {
    "ready": lambda quick: [Setting(name="ready", sample_bytes=IMAGE_BYTES, batch=64, steps=8 if quick else 128)],
    "trainer": lambda quick: [
        Setting(name="trainer", sample_bytes=IMAGE_BYTES, batch=64, steps=8 if quick else 32, trainer_s=0.1)
    ],
    "slow": lambda quick: [Setting(name="slow", sample_bytes=0, batch=32, steps=8 if quick else 64)],
    "grid": lambda quick: list(_grid(quick)),
    "kinds": lambda quick: [
        Setting(
            name=f"kinds, {kind}",
            sample_bytes=1,
            kind=kind,
            batch=32,
            steps=8 if quick or kind == "start" else 256,
            persistent=kind != "start",
        )
        for kind in KINDS
    ],
}


def run_child(setting: Setting, loader: str, seconds: float) -> dict[str, Any]:
    """In the run's own process: time to the first batch, then whole epochs for at least `seconds`."""
    import torch

    from forebay.loaders.dataloader import DataLoader

    count = setting.batch * setting.steps
    samples = _samples(setting, count)
    made = torch.utils.data.DataLoader if loader == "torch" else DataLoader
    me, began = os.getpid(), time.perf_counter()
    batches = made(
        samples,
        setting.batch,
        shuffle=True,
        num_workers=setting.workers,
        persistent_workers=setting.persistent,
        collate_fn=_as_lists if setting.kind == "lists" else None,
    )
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
                time.sleep(setting.trainer_s)
    wall = time.perf_counter() - clock
    return {"first_batch_s": first, "samples": delivered, "wall_s": wall, "cpu_s": cpu_seconds(me) - cpu}


def measure(setting: Setting, *, turns: int, seconds: float, timeout_s: float = 300.0) -> dict[str, Any]:
    """All turns of both loaders at one setting.

    Raises:
        RuntimeError: a run failed; the message has its last words.
    """
    found: dict[str, list[dict[str, float]]] = {loader: [] for loader in LOADERS}
    for turn in range(turns):
        for loader in LOADERS if turn % 2 == 0 else LOADERS[::-1]:
            task = json.dumps({"setting": asdict(setting), "loader": loader, "seconds": seconds})
            watched = run_watched(
                [sys.executable, "-m", "forebay.bench.loader_torch", _MARK, task], timeout_s=timeout_s, shared=True
            )
            if not watched.ok:
                raise RuntimeError(f"{setting.name}, {loader}: {watched.message} {watched.log}")
            one = watched.message
            found[loader].append(
                {
                    "per_wall_s": one["samples"] / one["wall_s"],
                    "per_cpu_s": one["samples"] / max(one["cpu_s"], 1e-9),
                    "first_batch_s": one["first_batch_s"],
                    "peak_pss": float(watched.peak_pss),
                    "peak_held": float(watched.peak_held),
                }
            )
    return {"setting": asdict(setting), "ideal": setting.ideal, "runs": found}


def row(result: dict[str, Any]) -> dict[str, Any]:
    """Medians of both loaders, and forebay's rates by torch's of the same turn: median, least and most."""
    runs = result["runs"]
    told: dict[str, Any] = {"name": result["setting"]["name"]}
    for figure in ("per_wall_s", "per_cpu_s", "first_batch_s", "peak_pss", "peak_held"):
        for loader in LOADERS:
            told[f"{loader}_{figure}"] = statistics.median(one[figure] for one in runs[loader])
    for figure in ("per_wall_s", "per_cpu_s"):
        ratios = [ours[figure] / theirs[figure] for theirs, ours in zip(*(runs[one] for one in LOADERS), strict=True)]
        told[f"times_{figure}"] = statistics.median(ratios), min(ratios), max(ratios)
    if result["ideal"]:
        told["shares"] = tuple(told[f"{loader}_per_wall_s"] / result["ideal"] for loader in LOADERS)
    return told


def _line(told: dict[str, Any]) -> str:
    wall, cpu = ("{:>6.2f} ({:.2f}-{:.2f})".format(*told[f"times_{one}"]) for one in ("per_wall_s", "per_cpu_s"))
    rates = "".join(f"{told[f'{one}_per_wall_s']:>11,.0f}{told[f'{one}_per_cpu_s']:>11,.0f}" for one in LOADERS)
    first = " / ".join(f"{told[f'{one}_first_batch_s']:.2f}" for one in LOADERS)
    pss, held = (
        " / ".join(f"{told[f'{one}_{figure}'] / 1e6:,.0f}" for one in LOADERS) for figure in ("peak_pss", "peak_held")
    )
    shares = "  of the ideal: {:.0%} / {:.0%}".format(*told["shares"]) if "shares" in told else ""
    return f"{told['name']:<20}{rates}  {wall:<20}  {cpu:<20}  {first:<13}{pss:<13}{held}{shares}"


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print a table as it grows, and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; default: all")
    parser.add_argument("--turns", type=int, default=5, help="runs of each loader")
    parser.add_argument("--seconds", type=float, default=3.0, help="least time that a run is measured")
    parser.add_argument("--quick", action="store_true", help="one short turn of small sets: shows that it runs")
    parser.add_argument("--only", default="", help="settings whose name holds this text")
    parser.add_argument("--json", type=Path, help="where all figures are written")
    options = parser.parse_args(arguments)
    if unknown := [one for one in options.sets if one not in SETS]:
        parser.error(f"no set {unknown[0]!r}; there are {', '.join(SETS)}")
    turns, seconds = (1, 0.2) if options.quick else (options.turns, options.seconds)
    head = "".join(f"{one + '/s':>11}{'/CPU s':>11}" for one in LOADERS)
    sys.stdout.write(
        f"{'':<20}{head}  {'times a second':<20}  {'times a CPU s':<20}  {'first batch s':<13}{'peak PSS MB':<13}and held open\n"
    )
    results = []
    for chosen in options.sets or list(SETS):
        for setting in SETS[chosen](options.quick):
            if options.only in setting.name:
                results.append(measure(setting, turns=turns, seconds=seconds))
                sys.stdout.write(_line(row(results[-1])) + "\n")
                sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return [row(one) for one in results]


def _child(task: str) -> None:
    told = json.loads(task)
    adopt_orphans()
    found = run_child(Setting(**told["setting"]), told["loader"], told["seconds"])
    sys.stdout.write(json.dumps({"event": "done", **found}) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == [_MARK]:
        _child(sys.argv[2])
    else:
        main()
