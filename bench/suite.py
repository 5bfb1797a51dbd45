"""The benchmark suite: run it, and make table, plot and JSON of what it found."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forebay.bench.catalog import WORKLOADS
from forebay.bench.plot import plot
from forebay.bench.results import Results
from forebay.bench.rows import Row, rows
from forebay.bench.runner import SuiteOptions, run_suite
from forebay.bench.table import put_between_markers, summary, table
from forebay.formats.errors import SpecError


def bench(
    options: SuiteOptions, out: Path, say: Callable[[str], None], *, resume: bool = False, readme: Path | None = None
) -> list[Row]:
    """Run, then write the report beside `results.jsonl`. Without `resume` what was timed of the chosen workloads before
    is measured anew; other workloads stay in the report."""
    results = Results.open(out)
    if not resume:
        results.forget_times(options.chosen, quick=options.quick)
    run_suite(options, results, say)
    if options.prepare_only:
        return []
    return report(results, say, quick=options.quick, readme=readme)


def report(results: Results, say: Callable[[str], None], *, quick: bool, readme: Path | None = None) -> list[Row]:
    """Everything that can be made from the results that are there."""
    found = rows(results, WORKLOADS, quick=quick)
    machines = results.machines(quick=quick)
    write_report(found, machines, results.directory, say)
    if readme is not None:
        put_between_markers(readme, summary(found))
    return found


def write_report(
    found: Sequence[Row], machines: Sequence[dict[str, Any]], out: Path, say: Callable[[str], None]
) -> None:
    """`results.json`, `table.md`, `summary.md`, `plot.svg` and `plot.png` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table(found, machines))
    (out / "summary.md").write_text(summary(found))
    values = {"machines": list(machines), "rows": [row.to_json() for row in found]}
    (out / "results.json").write_text(json.dumps(values, indent=1) + "\n")
    try:
        plot(found, out)
    except SpecError as error:
        say(str(error))
    say(f"written: {out}/table.md, summary.md, results.json, plot.svg, plot.png")


def read_report(path: Path) -> tuple[list[Row], list[dict[str, Any]]]:
    """Rows and machines of a `results.json`."""
    values = json.loads(path.read_text())
    return [Row.from_json(one) for one in values["rows"]], values["machines"]
