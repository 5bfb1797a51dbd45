"""What loaders hold at the end of a timed run, kind of mapping by kind of mapping, side by side.

    python -m forebay.bench.held WORKLOAD [--against torch] [--seconds S] [--turns N] [--quick]

Runs of `forebay bench` on its data and formats, forebay and the stock loader at their settings, in turns; the last look of
each is taken apart here (medians). `forebay bench` makes formats that are missing.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from forebay.bench.catalog import CANDIDATES, WORKLOADS
from forebay.bench.held_mappings import KINDS, held_by_kind
from forebay.bench.job import Candidate
from forebay.bench.measure import run_job
from forebay.bench.peer_env import peer_environment
from forebay.bench.runner import job_of
from forebay.cli.console import say

_DIGITS = {"first batch s": 3, "from start s": 2, "samples a CPU s": 0, "CPU s to first batch": 3}
_FIGURES = ("PSS", "without files", "first batch s", "from start s", "samples a CPU s", "CPU s to first batch")


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print a table, and return it: candidate -> kind -> MB."""
    parser = argparse.ArgumentParser(prog="python -m forebay.bench.held", description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--against", action="append", help="a candidate, or all settings of one; forebay always runs")
    parser.add_argument("--seconds", type=float, default=1.0, help="timed of each run, after half as many")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="toy size, for tests")
    asked = parser.parse_args(arguments)
    wanted = ["forebay", *(["torch"] if asked.against is None else asked.against)]
    chosen = [
        one for one in CANDIDATES[asked.workload] if any(f"{one.name},".startswith(f"{part},") for part in wanted)
    ]
    runs: dict[str, list[dict[str, float]]] = {one.name: [] for one in chosen}
    for _ in range(asked.turns):
        for one in chosen:
            runs[one.name].append(_run(one, asked.seconds, quick=asked.quick))
    found = {
        name: {key: statistics.median(run[key] for run in every) for key in every[0]} for name, every in runs.items()
    }
    _tell(found)
    return found


def _run(candidate: Candidate, seconds: float, *, quick: bool) -> dict[str, float]:
    taken: dict[str, int] = {}

    def look(pid: int) -> None:
        taken.update(held_by_kind(pid))

    job = replace(job_of(candidate, "time", quick=quick), warm_s=seconds / 2, measure_s=seconds)
    python = peer_environment(candidate.environment).python
    watched = run_job(python, job, timeout_s=120, look=look)
    if not watched.ok:
        raise RuntimeError(f"{candidate.name}: {watched.message['reason']}")
    told: dict[str, Any] = watched.message
    kinds = {kind: size / 1e6 for kind, size in taken.items()}
    figures = (
        watched.peak_pss / 1e6,
        watched.peak_without_files / 1e6,
        told["first_batch_s"],
        told["start_s"],
        told["samples"] / max(told["cpu_s"], 1e-9),
        told["first_cpu_s"],
    )
    return {**dict(zip(_FIGURES, figures, strict=True)), **kinds}


def _tell(found: dict[str, dict[str, float]]) -> None:
    names = list(found)
    say(f"| | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for kind in (*_FIGURES, *KINDS):
        values = [found[name][kind] for name in names]
        if any(value >= 0.05 for value in values) or kind in _FIGURES:
            told = (f"{value:,.{_DIGITS.get(kind, 1)}f}" for value in values)
            say(f"| {kind} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
