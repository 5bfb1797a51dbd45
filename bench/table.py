"""The Markdown made from results; a README's part of it is put between two markers, never typed."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.bench.demands import demand_table
from forebay.bench.rows import Row
from forebay.bench.standing import fastest, limit, ours, peers, rows_of, stock
from forebay.formats.errors import SpecError

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_HEAD = (
    "| system | {unit}/s | least to most | of the limit | forebay is | {unit}/CPU s | peak MB (PSS) | without files | "
    "first batch s | from start s | read MB/1000 | exactly once |"
)
_SUMMARY = (
    "| workload | forebay | best peer | stock torch at its best | physical limit | share of it | peak MB, torch's | "
    "first batch s, torch's |"
)
_NOTHING = "No results are kept yet: `make bench` measures on your machine and writes them here.\n"


def table(rows: Sequence[Row], machines: Sequence[dict[str, Any]]) -> str:
    """The whole report."""
    parts = ["# Benchmark results", "", *_machine(machines)]
    for workload in dict.fromkeys(row.workload for row in rows):
        parts += ["", f"## {workload}", "", *section(workload, [one for one in rows if one.workload == workload])]
    asked = demand_table(rows)
    if asked:
        parts += ["", "## What is asked", "", *asked]
    return "\n".join(parts) + "\n"


def section(workload: str, rows: Sequence[Row]) -> list[str]:
    """One workload's table."""
    about = importlib.import_module(f"forebay.bench.workloads.{workload}")
    mine = ours(rows)
    head = _HEAD.format(unit=about.UNIT)
    lines = [f"{about.ABOUT}.", "", head, "|---|" + "---:|" * (head.count("|") - 3) + "---|"]
    lines += [_line(row, mine.rate if mine else 0.0) for row in rows if row.rate]
    left = [f"{name} {rate:,.0f}" for row in rows for name, rate in row.others]
    if left:
        lines += ["", f"Settings tried once and left: {'; '.join(left)}."]
    missing = [f"* {row.candidate}: {row.reason}" for row in rows if not row.rate]
    return lines + (["", "Without figures:", "", *missing] if missing else [])


def summary(rows: Sequence[Row]) -> str:
    """The short table of a README: forebay, the best peer and stock torch, a line a workload."""
    lines = [_SUMMARY, "|---|" + "---:|" * (_SUMMARY.count("|") - 2)]
    for workload in dict.fromkeys(row.workload for row in rows):
        here = rows_of(rows, workload)
        best, torch = ours(here), fastest(stock(here))
        if best is None:
            continue
        most = next((one.rate for one in limit(here)), 0.0)
        unit = importlib.import_module(f"forebay.bench.workloads.{workload}").UNIT
        lines.append(
            f"| {workload} | {best.rate:,.0f} {unit}/s | {_against(peers(here), best)} | {_against(stock(here), best)} | "
            f"{f'{most:,.0f}' if most else ''} | {f'{best.share:.0%}' if most else ''} | "
            f"{best.peak_bytes / 1e6:,.0f}{f', {torch.peak_bytes / 1e6:,.0f}' if torch else ''} | "
            f"{best.first_s:.2f}{f', {torch.first_s:.2f}' if torch else ''} |"
        )
    return "\n".join(lines) + "\n"


def readme_part(rows: Sequence[Row], machines: Sequence[dict[str, Any]]) -> str:
    """What stands between README's markers: machine, short table, where the rest is."""
    if not rows:
        return _NOTHING
    one = machines[-1]
    loads = [float(load[0]) for each in machines for load in (each["load_average"], each["load_after"])]
    return (
        f"{one['processor']}, {one['cores']} cores, {one['time'][:10]}, load average {min(loads):.1f} to {max(loads):.1f} with "
        f"the suite's own; medians of runs in turns. In brackets: how many times faster forebay is.\n\n"
        f"{summary(rows)}\n"
        "All systems, settings, spreads and checks: [docs/benchmarks/table.md](docs/benchmarks/table.md). Yours: `make bench`.\n"
    )


def put_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the markers of a Markdown file.

    Raises:
        SpecError: the file has no such markers.
    """
    old = path.read_text()
    if BEGIN not in old or END not in old:
        raise SpecError(f"{path} has no {BEGIN} ... {END}; put the two markers where the table belongs")
    before, rest = old.split(BEGIN, 1)
    path.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")


def _line(row: Row, mine: float) -> str:
    spread = f"{min(row.rates):,.0f} to {max(row.rates):,.0f}" if len(row.rates) > 1 else "one run"
    times = "" if row.limit or not mine or row.rate == mine else f"{mine / row.rate:.1f} x"
    once = "" if row.limit else _checked(row)
    return (
        f"| {row.candidate} | {row.rate:,.0f} | {spread} | {row.share:.0%} | {times} | {row.cpu_rate:,.0f} | "
        f"{row.peak_bytes / 1e6:,.0f} | {row.peak_without_files / 1e6:,.0f} | {row.first_s:.2f} | {row.start_s:.2f} | "
        f"{row.read_bytes / 1e6:,.1f} | {once} |"
    )


def _checked(row: Row) -> str:
    if row.faults is None:
        return "not checked"
    return "yes" if not row.faults else f"**no**: {row.faults[0]}"


def _against(rows: Sequence[Row], mine: Row) -> str:
    best = fastest(rows)
    return f"{best.rate:,.0f} ({best.candidate}; {mine.rate / best.rate:.1f} x)" if best else ""


def _machine(machines: Sequence[dict[str, Any]]) -> list[str]:
    """A paragraph for each time and place of measuring."""
    lines = []
    for one in machines:
        packages = ", ".join(f"{name} {version}" for name, version in one["packages"].items())
        peers = ", ".join(f"{name} {version}" for name, version in one["peers"].items())
        how = ", ".join(f"{name} {value}" for name, value in one["settings"].items())
        lines += [
            f"{', '.join(one['workloads'])}: {one['time']}; {one['processor']}, {one['cores']} cores, "
            f"{one['memory_bytes'] / 2**30:.0f} GiB; {one['system']}; Python {one['python']}; forebay {one['forebay']}, "
            f"{packages}. Peers: {peers}. {how}. "
            f"Load average before: {one['load_average'][0]:.2f}; after: {one['load_after'][0]:.2f}.",
            "",
        ]
    return [*lines, "Rates are medians over runs that took turns; each run is a process of its own."]
