"""The benchmark suite: run it, and make table, plot and JSON of what it found."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from forebay.bench.plot import plot
from forebay.bench.results import Results, Row, rows
from forebay.bench.runner import SuiteOptions, run_suite
from forebay.bench.table import put_between_markers, summary, table
from forebay.formats.errors import SpecError


def bench(
    options: SuiteOptions, out: Path, say: Callable[[str], None], *, resume: bool = False, readme: Path | None = None
) -> list[Row]:
    """Run, then write `results.json`, `table.md`, `plot.svg` and `plot.png` beside `results.jsonl`."""
    results = Results.open(out, resume=resume)
    run_suite(options, results, say)
    return report(results, say, quick=options.quick, readme=readme)


def report(results: Results, say: Callable[[str], None], *, quick: bool, readme: Path | None = None) -> list[Row]:
    """Make everything that can be made from the results that are there."""
    found = rows(results, quick=quick)
    machines = results.of("machine", quick=quick)
    out = results.directory
    text = table(found, machines)
    (out / "table.md").write_text(text)
    (out / "summary.md").write_text(summary(found))
    (out / "results.json").write_text(
        json.dumps({"machine": machines[-1:], "rows": [asdict(row) for row in found]}, indent=2)
    )
    try:
        plot(found, out)
    except SpecError as error:
        say(str(error))
    if readme is not None:
        put_between_markers(readme, summary(found))
    say(f"written: {out}/table.md, summary.md, results.json, plot.svg, plot.png")
    return found
