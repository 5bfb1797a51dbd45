"""Which rows of a workload are forebay's, stock torch's, the peers', written by hand, or the physical limit."""

from collections.abc import Sequence

from forebay.bench.rows import Row


def rows_of(rows: Sequence[Row], workload: str) -> list[Row]:
    """A workload's rows that have figures."""
    return [one for one in rows if one.workload == workload and one.rate]


def ours(rows: Sequence[Row]) -> Row | None:
    """forebay at its best setting."""
    return fastest([one for one in rows if one.candidate.startswith("forebay")])


def stock(rows: Sequence[Row]) -> list[Row]:
    """torch's own loader."""
    return [one for one in rows if one.candidate.startswith("torch,")]


def by_hand(rows: Sequence[Row]) -> list[Row]:
    """What a good engineer writes for one data set, with no loader at all."""
    return [one for one in rows if "by hand" in one.candidate]


def peers(rows: Sequence[Row]) -> list[Row]:
    """All other systems."""
    left = [*stock(rows), *by_hand(rows)]
    return [one for one in rows if not one.limit and not one.candidate.startswith("forebay") and one not in left]


def limit(rows: Sequence[Row]) -> list[Row]:
    """What the machine can do, where that was measured."""
    return [one for one in rows if one.limit]


def fastest(rows: Sequence[Row]) -> Row | None:
    """By wall time; None of none."""
    return max(rows, key=lambda one: one.rate, default=None)
