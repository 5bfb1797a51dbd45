"""The Markdown made from results; a README's part of it is put between two markers, never typed."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.bench.results import Row
from forebay.formats.errors import SpecError

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_HEAD = (
    "| system | {unit}/s | least to most | of the limit | forebay is | {unit}/CPU s | peak MB (PSS) | without files | "
    "first batch s | from start s | exactly once |"
)


def table(rows: Sequence[Row], machines: Sequence[dict[str, Any]]) -> str:
    """The whole report."""
    parts = ["# Benchmark results", "", *_machine(machines)]
    for workload in dict.fromkeys(row.workload for row in rows):
        parts += ["", f"## {workload}", "", *section(workload, [one for one in rows if one.workload == workload])]
    return "\n".join(parts) + "\n"


def section(workload: str, rows: Sequence[Row]) -> list[str]:
    """One workload's table."""
    about = importlib.import_module(f"forebay.bench.workloads.{workload}")
    ours = max((one.rate for one in rows if one.candidate.startswith("forebay")), default=0.0)
    head = _HEAD.format(unit=about.UNIT)
    lines = [f"{about.ABOUT}.", "", head, "|---|" + "---:|" * (head.count("|") - 3) + "---|"]
    lines += [_line(row, ours) for row in rows if row.rate]
    missing = [f"* {row.candidate}: {row.reason}" for row in rows if not row.rate]
    return lines + (["", "Without figures:", "", *missing] if missing else [])


def summary(rows: Sequence[Row]) -> str:
    """The short table of a README: forebay, the best peer and stock torch, a line a workload."""
    lines = [
        "| workload | forebay | best peer | stock torch, best setting | physical limit | forebay's share of it |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for workload in dict.fromkeys(row.workload for row in rows):
        here = [one for one in rows if one.workload == workload and one.rate]
        ours = [one for one in here if one.candidate.startswith("forebay")]
        if not ours:
            continue
        best = max(ours, key=lambda one: one.rate)
        stock = [one for one in here if one.candidate.startswith("torch,")]
        peers = [one for one in here if one not in ours and one not in stock and not _by_hand(one) and not one.limit]
        limit = [one for one in here if one.limit]
        unit = importlib.import_module(f"forebay.bench.workloads.{workload}").UNIT
        lines.append(
            f"| {workload} | {best.rate:,.0f} {unit}/s | {_against(peers, best)} | {_against(stock, best)} | "
            f"{limit[0].rate:,.0f} | {best.share:.0%} |"
            if limit
            else f"| {workload} | {best.rate:,.0f} {unit}/s | {_against(peers, best)} | {_against(stock, best)} | | |"
        )
    return "\n".join(lines) + "\n"


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


def _line(row: Row, ours: float) -> str:
    spread = f"{min(row.rates):,.0f} to {max(row.rates):,.0f}" if len(row.rates) > 1 else "one run"
    times = "" if row.limit or not ours or row.rate == ours else f"{ours / row.rate:.1f} x"
    once = "" if row.limit else _checked(row)
    return (
        f"| {row.candidate} | {row.rate:,.0f} | {spread} | {row.share:.0%} | {times} | {row.cpu_rate:,.0f} | "
        f"{row.peak_bytes / 1e6:,.0f} | {row.peak_without_files / 1e6:,.0f} | {row.first_s:.2f} | {row.start_s:.2f} | "
        f"{once} |"
    )


def _checked(row: Row) -> str:
    if row.faults is None:
        return "not checked"
    return "yes" if not row.faults else f"**no**: {row.faults[0]}"


def _by_hand(row: Row) -> bool:
    return "by hand" in row.candidate


def _against(rows: Sequence[Row], ours: Row) -> str:
    if not rows:
        return ""
    best = max(rows, key=lambda one: one.rate)
    return f"{best.rate:,.0f} ({best.candidate}; {ours.rate / best.rate:.1f} x)"


def _machine(machines: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for one in machines[-1:]:
        packages = ", ".join(f"{name} {version}" for name, version in one["packages"].items())
        peers = ", ".join(f"{name} {version}" for name, version in one.get("peers", {}).items())
        lines = [
            f"{one['time']}: {one['processor']}, {one['cores']} cores, {one['memory_bytes'] / 2**30:.0f} GiB; "
            f"{one['system']}; Python {one['python']}; {packages}. Peers: {peers}.",
            "",
            f"Load average before: {one['load_average'][0]:.2f}; after: {one.get('load_after', [0])[0]:.2f}. "
            "Rates are medians over runs that took turns; each run is a process of its own.",
        ]
    return lines
