"""What forebay must reach in each workload, and whether the results show it.

A demand is a ratio of rates from one run. Beside what was reached stands the most that was possible: the ratio that the
physical limit of the workload, measured in the same run, has to the same rival. Where that is below what was asked, nothing
that delivers these samples can keep the demand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from forebay.bench.rows import Row

_FIRST_NOISE_S = 0.005
"""Times to the first batch that differ by less are the same."""


@dataclass(frozen=True, slots=True)
class Demand:
    """At least `times` the rate of the best of some rows."""

    workload: str
    asked: str
    times: float
    rivals: Callable[[Sequence[Row], Row], list[Row]]
    """Of all rows and forebay's own: those that it is held against."""
    figure: Literal["rate", "cpu_rate"] = "rate"


def _peers(rows: Sequence[Row], ours: Row) -> list[Row]:
    return [one for one in _of(rows, ours) if not one.candidate.startswith(("forebay", "torch,")) and not _by_hand(one)]


def _stock(rows: Sequence[Row], ours: Row) -> list[Row]:
    return [one for one in _of(rows, ours) if one.candidate.startswith("torch,")]


def _stock_alike(rows: Sequence[Row], ours: Row) -> list[Row]:
    workers = ours.candidate.partition(", ")[2]
    return [one for one in _stock(rows, ours) if one.candidate.endswith(workers)]


def _pillow(rows: Sequence[Row], ours: Row) -> list[Row]:
    return [one for one in rows if one.workload == "images" and one.candidate.startswith("torch, pillow")]


def _hand(rows: Sequence[Row], ours: Row) -> list[Row]:
    return [one for one in _of(rows, ours) if _by_hand(one)]


def _limit(rows: Sequence[Row], ours: Row) -> list[Row]:
    return [one for one in rows if one.workload == ours.workload and one.limit]


def _tables(rows: Sequence[Row], ours: Row) -> list[Row]:
    return [one for one in _of(rows, ours) if one.candidate.startswith(("Polars", "pyarrow", "pandas"))]


def _of(rows: Sequence[Row], ours: Row) -> list[Row]:
    return [one for one in rows if one.workload == ours.workload and not one.limit]


def _by_hand(row: Row) -> bool:
    return "by hand" in row.candidate


DEMANDS = (
    Demand("tokens", "the best peer", 7.0, _peers),
    Demand("tokens", "stock torch", 7.0, _stock),
    Demand("tokens", "numpy by hand", 1.0, _hand),
    Demand("tokens", "the limit", 0.55, _limit),
    Demand("images", "the best peer", 1.4, _peers),
    Demand("images", "stock torch with Pillow", 3.0, _pillow),
    Demand("images", "the limit", 0.8, _limit),
    Demand("images_cached", "the best peer", 4.0, _peers),
    Demand("images_cached", "stock torch with Pillow, from the JPEGs", 35.0, _pillow),
    Demand("images_cached", "the limit", 0.7, _limit),
    Demand("tabular", "the best peer", 2.3, _peers),
    Demand("tabular", "the limit", 0.7, _limit),
    Demand("python", "stock torch, as many workers", 1.4, _stock_alike),
    Demand("python", "the limit", 0.8, _limit),
    Demand("transport", "stock torch, as many workers, by CPU", 5.0, _stock_alike, "cpu_rate"),
    Demand("transport", "the best peer", 1.0, _peers),
    Demand("prep_tabular", "the best of Polars, pyarrow, pandas", 1.0, _tables),
)


def demand_table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table with a line for each demand that these rows can tell of."""
    timed = [one for one in rows if one.rate]
    lines = [line for line in (*_speed(timed), *_beside_torch(timed)) if line]
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
        ours = _ours(rows, demand.workload)
        rivals = demand.rivals(rows, ours) if ours else []
        if ours is None or not rivals:
            continue
        rival = max(rivals, key=lambda one: getattr(one, demand.figure))
        reached = getattr(ours, demand.figure) / getattr(rival, demand.figure)
        limit = next(iter(_limit(rows, ours)), None)
        most = getattr(limit, demand.figure) / getattr(rival, demand.figure) if limit else None
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
        ours = _ours(rows, workload)
        stock = _stock(rows, ours) if ours else []
        if ours is None or not stock:
            continue
        torch = max(stock, key=lambda one: one.rate)
        less = "yes" if ours.peak_bytes < torch.peak_bytes else "no"
        soon = "yes" if ours.first_s <= torch.first_s + _FIRST_NOISE_S else "no"
        most_mb, mb = f"{torch.peak_bytes / 1e6:,.0f} MB", f"{ours.peak_bytes / 1e6:,.0f}"
        yield f"| {workload} | PSS below {most_mb} ({torch.candidate}) | {mb} | | {less} |"
        yield f"| {workload} | first batch within {torch.first_s:.2f} s ({torch.candidate}) | {ours.first_s:.2f} | | {soon} |"


def _ours(rows: Sequence[Row], workload: str) -> Row | None:
    found = [one for one in rows if one.workload == workload and one.candidate.startswith("forebay")]
    return max(found, key=lambda one: one.rate) if found else None
