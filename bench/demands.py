"""What forebay must reach in each workload, and whether the results show it.

A demand is a ratio of rates from one run. Beside what was reached stands the most that was possible: the ratio that the
physical limit of the workload, measured in the same run, has to the same rival. Where that is below what was asked, nothing
that delivers these samples can keep the demand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from forebay.bench.rows import Row
from forebay.bench.standing import by_hand, fastest, limit, ours, peers, rows_of, stock

_FIRST_NOISE_S = 0.005
"""Times to the first batch that differ by less are the same."""


@dataclass(frozen=True, slots=True)
class Demand:
    """At least `times` the rate of the best of some rows."""

    workload: str
    asked: str
    times: float
    rivals: Callable[[Sequence[Row]], list[Row]]
    """Of a workload's rows those that it is held against."""
    figure: Literal["rate", "cpu_rate"] = "rate"
    beside: str = ""
    """The workload of the rivals; "": the same."""


def _stock_alike(rows: Sequence[Row]) -> list[Row]:
    """torch's loader with as many workers as forebay has."""
    mine = ours(rows)
    return [one for one in stock(rows) if mine and one.candidate.endswith(mine.candidate.partition(", ")[2])]


def _pillow(rows: Sequence[Row]) -> list[Row]:
    return [one for one in stock(rows) if "pillow" in one.candidate]


def _tables(rows: Sequence[Row]) -> list[Row]:
    return [one for one in peers(rows) if one.candidate.startswith(("Polars", "pyarrow", "pandas"))]


DEMANDS = (
    Demand("tokens", "the best peer", 7.0, peers),
    Demand("tokens", "stock torch", 7.0, stock),
    Demand("tokens", "numpy by hand", 1.0, by_hand),
    Demand("tokens", "the limit", 0.55, limit),
    Demand("images", "the best peer", 1.4, peers),
    Demand("images", "stock torch with Pillow", 3.0, _pillow),
    Demand("images", "the limit", 0.8, limit),
    Demand("images_cached", "the best peer", 4.0, peers),
    Demand("images_cached", "stock torch with Pillow, from the JPEGs", 35.0, _pillow, beside="images"),
    Demand("images_cached", "the limit", 0.7, limit),
    Demand("tabular", "the best peer", 2.3, peers),
    Demand("tabular", "the limit", 0.7, limit),
    Demand("python", "stock torch, as many workers", 1.4, _stock_alike),
    Demand("python", "the limit", 0.8, limit),
    Demand("transport", "stock torch, as many workers, by CPU", 5.0, _stock_alike, "cpu_rate"),
    Demand("transport", "the best peer", 1.0, peers),
    Demand("prep_tabular", "the best of Polars, pyarrow, pandas", 1.0, _tables),
)


def demand_table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table with a line for each demand that these rows can tell of."""
    lines = [*_speed(rows), *_beside_torch(rows)]
    if not lines:
        return []
    return [
        "What is asked of forebay, beside what it reached. At most: the same ratio, had forebay the rate of the physical limit.",
        "",
        "| workload | asked | reached | at most | |",
        "|---|---|---:|---:|---|",
        *lines,
    ]


def _speed(rows: Sequence[Row]) -> Iterator[str]:
    for demand in DEMANDS:
        here = rows_of(rows, demand.workload)
        mine, rivals = ours(here), demand.rivals(rows_of(rows, demand.beside or demand.workload))
        if mine is None or not rivals:
            continue
        rival = max(rivals, key=lambda one: getattr(one, demand.figure))
        reached = getattr(mine, demand.figure) / getattr(rival, demand.figure)
        most = next((getattr(one, demand.figure) / getattr(rival, demand.figure) for one in limit(here)), None)
        verdict = "yes" if reached >= demand.times else "no"
        if verdict == "no" and most is not None and most < demand.times:
            verdict = "out of reach: the limit lies below"
        name = "" if rival.limit else f" ({rival.candidate})"
        yield (
            f"| {demand.workload} | {demand.times:g} times {demand.asked}{name} | {reached:.2f} | "
            f"{f'{most:.2f}' if most else ''} | {verdict} |"
        )


def _beside_torch(rows: Sequence[Row]) -> Iterator[str]:
    for workload in dict.fromkeys(one.workload for one in rows):
        here = rows_of(rows, workload)
        mine, torch = ours(here), fastest(stock(here))
        if mine is None or torch is None:
            continue
        less = "yes" if mine.peak_bytes < torch.peak_bytes else "no"
        soon = "yes" if mine.first_s <= torch.first_s + _FIRST_NOISE_S else "no"
        most_mb, mb = f"{torch.peak_bytes / 1e6:,.0f} MB", f"{mine.peak_bytes / 1e6:,.0f}"
        yield f"| {workload} | PSS below {most_mb} ({torch.candidate}) | {mb} | | {less} |"
        yield f"| {workload} | first batch within {torch.first_s:.2f} s ({torch.candidate}) | {mine.first_s:.2f} | | {soon} |"
