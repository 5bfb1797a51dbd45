"""forebay's loader beside torch's own, over the same torch data sets: `python -m forebay.bench.loader_torch [SET ...]`.

Sets of settings:
    ready: samples are 3x224x224 float32 arrays that are there already, batch 64: only moving them costs anything.
    slow: a millisecond of Python a sample, batch 32; the share of what the workers could make at most is told, too.
    trainer: as ready, for a trainer that reads its batches and takes 100 ms for each, so that workers get as far ahead as they
        may: memory and CPU time.
    grid: ready samples of 1 KB to 2 MB, batches of 1 to 512. Batches of more than 256 MB are left out: five of them are on
        their way at any time.
    first: time to the first batch of the ready samples, with 0, 1 and 2 workers, forked and spawned.
    kinds: batches of 32 with other contents: 30 small tensors each, text, lists of arrays that are not collated; and epochs
        of 8 batches whose workers are started anew each time.

Each run is a process of its own with the same number of workers; the two loaders take turns. Rates are those of whole epochs
after the first, by wall time and by CPU time of the whole process tree; PSS is the largest sum over that tree; "and held open"
adds shared memory that no process has mapped at the moment: batches that wait to be taken. The last lines
say which demands are reached.
"""

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forebay.bench.loader_demands import demands
from forebay.bench.loader_settings import LOADERS, SETS, Setting
from forebay.bench.measure import run_watched


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
                [sys.executable, "-m", "forebay.bench.loader_child", task], timeout_s=timeout_s, shared=True
            )
            if not watched.ok:
                raise RuntimeError(f"{setting.name}, {loader}: {watched.message} {watched.log}")
            one = watched.message
            found[loader].append(
                {
                    "per_wall_s": one["samples"] / max(one["wall_s"], 1e-9),
                    "per_cpu_s": one["samples"] / max(one["cpu_s"], 1e-9),
                    "first_batch_s": one["first_batch_s"],
                    "peak_pss": float(watched.peak_pss),
                    "peak_own": float(watched.peak_without_files),
                    "peak_held": float(watched.peak_held),
                }
            )
    return {"setting": asdict(setting), "ideal": setting.ideal, "runs": found}


def row(result: dict[str, Any]) -> dict[str, Any]:
    """Medians of both loaders, and forebay's rates by torch's of the same turn: median, least and most."""
    runs = result["runs"]
    told: dict[str, Any] = {"name": result["setting"]["name"]}
    for figure in ("per_wall_s", "per_cpu_s", "first_batch_s", "peak_pss", "peak_own", "peak_held"):
        for loader in LOADERS:
            told[f"{loader}_{figure}"] = statistics.median(one[figure] for one in runs[loader])
    if result["setting"]["starts"]:
        return told
    for figure in ("per_wall_s", "per_cpu_s"):
        ratios = [ours[figure] / theirs[figure] for theirs, ours in zip(*(runs[one] for one in LOADERS), strict=True)]
        told[f"times_{figure}"] = statistics.median(ratios), min(ratios), max(ratios)
    if result["ideal"]:
        told["shares"] = tuple(told[f"{loader}_per_wall_s"] / result["ideal"] for loader in LOADERS)
    return told


def _line(told: dict[str, Any]) -> str:
    if "times_per_wall_s" not in told:
        return f"{told['name']:<20}{'':<90}{_first(told)}{_memory(told)}"
    wall, cpu = ("{:>6.2f} ({:.2f}-{:.2f})".format(*told[f"times_{one}"]) for one in ("per_wall_s", "per_cpu_s"))
    rates = "".join(f"{told[f'{one}_per_wall_s']:>11,.0f}{told[f'{one}_per_cpu_s']:>11,.0f}" for one in LOADERS)
    shares = "  of the ideal: {:.0%} / {:.0%}".format(*told["shares"]) if "shares" in told else ""
    return f"{told['name']:<20}{rates}  {wall:<20}  {cpu:<20}  {_first(told)}{_memory(told)}{shares}"


def _first(told: dict[str, Any]) -> str:
    return "{:<15}".format(" / ".join(f"{told[f'{one}_first_batch_s']:.3f}" for one in LOADERS))


def _memory(told: dict[str, Any]) -> str:
    pss, held = (
        " / ".join(f"{told[f'{one}_{figure}'] / 1e6:,.0f}" for one in LOADERS) for figure in ("peak_pss", "peak_held")
    )
    return f"{pss:<13}{held}"


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
        f"{'':<20}{head}  {'times a second':<20}  {'times a CPU s':<20}  {'first batch s':<15}{'peak PSS MB':<13}and held open\n"
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
    rows = [row(one) for one in results]
    sys.stdout.write("".join(f"{line}\n" for line in demands(rows)))
    return rows


if __name__ == "__main__":
    main()
