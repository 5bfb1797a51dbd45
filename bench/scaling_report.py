"""What `bench.scaling` found, as Markdown and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.bench.plot import OTHERS, OURS, pyplot
from forebay.bench.scaling_curves import SIZE

Record = dict[str, Any]
_FIGURES = (
    ("rate", "samples a second", 1.0),
    ("cpu_rate", "samples a CPU second", 1.0),
    ("first_batch_s", "seconds to the first batch", 1.0),
    ("peak_without_files", "MB without files", 1e-6),
)


def table(records: Sequence[Record], measured: dict[str, Record]) -> str:
    """A table a curve, with where and when it was measured."""
    lines = ["# How it scales"]
    for curve in dict.fromkeys(one["curve"] for one in records):
        here = [one for one in records if one["curve"] == curve]
        lines += ["", f"## {curve}", "", *_where(measured.get(curve)), *_grows(curve, here)]
        lines += ["| system | at | samples/s | samples/CPU s | first batch s | MB without files |"]
        lines += ["|---|---:|---:|---:|---:|---:|", *map(_line, here)]
    return "\n".join(lines) + "\n"


def _line(one: Record) -> str:
    figures = (
        f"{one['rate']:,.0f} | {one['cpu_rate']:,.0f} | {one['first_batch_s']:.2f} | {one['peak_without_files'] / 1e6:,.0f}"
        if one["ok"]
        else f"{one['reason']} | | |"
    )
    return f"| {one['system']} | {one['x']:,.0f} | {figures} |"


def _where(one: Record | None) -> list[str]:
    if one is None:
        return []
    packages = ", ".join(
        f"{name} {one['packages'][name]}" for name in ("numpy", "pyarrow", "torch") if name in one["packages"]
    )
    how = ", ".join(f"{name} {value}" for name, value in one["settings"].items())
    return [
        f"{one['time']}; {one['processor']}, {one['cores']} cores, {one['memory_bytes'] / 2**30:.0f} GiB; Python "
        f"{one['python']}, forebay {one['forebay']}, {packages}; {how}; load average before: {one['load_average'][0]:.2f}; "
        f"after: {one['load_after'][0]:.2f}.",
        "",
    ]


def _grows(curve: str, records: Sequence[Record]) -> list[str]:
    """From the smallest data set to the largest, a line a system."""
    if curve != SIZE:
        return []
    lines = []
    for system in dict.fromkeys(one["system"] for one in records):
        good = sorted((one for one in records if one["system"] == system and one["ok"]), key=lambda one: one["x"])
        if len(good) > 1:
            first, last = good[0], good[-1]
            memory = last["peak_without_files"] / max(first["peak_without_files"], 1)
            cost = first["cpu_rate"] / last["cpu_rate"]
            lines.append(
                f"* {system}: {last['x'] / first['x']:,.0f} times the data takes {cost:.2f} times the CPU "
                f"time a sample and {memory:.2f} times the memory; the first batch comes after "
                f"{last['first_batch_s']:.2f} s (before: {first['first_batch_s']:.2f} s)."
            )
    return [*lines, ""]


def picture(records: Sequence[Record], path: Path) -> None:
    """An SVG: a row a curve, a column a figure, a line a system.

    Raises:
        SpecError: matplotlib is not installed.
    """
    good = [one for one in records if one["ok"]]
    curves = list(dict.fromkeys(one["curve"] for one in good))
    if not curves:
        return
    draw = pyplot()
    size = (3.2 * len(_FIGURES), 2.2 * len(curves))
    figure, axes = draw.subplots(len(curves), len(_FIGURES), figsize=size, layout="constrained", squeeze=False)
    for row, curve in zip(axes, curves, strict=True):
        for axis, (key, title, scale) in zip(row, _FIGURES, strict=True):
            here = [one for one in good if one["curve"] == curve]
            for system in dict.fromkeys(one["system"] for one in here):
                mine = sorted((one["x"], scale * one[key]) for one in here if one["system"] == system)
                colour = OURS if system.startswith("forebay") else OTHERS
                axis.plot(*zip(*mine, strict=True), marker="o", markersize=3, color=colour, label=system)
            axis.set_title(f"{curve}: {title}", fontsize=7, loc="left")
            axis.tick_params(labelsize=6)
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_ylim(bottom=0)
            if min(one["x"] for one in here) > 0:
                axis.set_xscale("log")
        row[0].legend(fontsize=6, frameon=False)
    figure.savefig(path)
    draw.close(figure)
