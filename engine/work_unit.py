"""A work unit: consecutive fragments that one thread, process or machine prepares by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.formats.fragment import Fragment


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """What `run_unit` does in one go, and what a killed run redoes. Depends on the source alone, never on the threads."""

    index: int
    fragments: tuple[tuple[int, Fragment], ...]
    """(ordinal in the source, fragment), consecutive."""

    @property
    def name(self) -> str:
        """Prefix of its shards' names."""
        return f"part-{self.index:05d}"

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for _, one in self.fragments)


LEAST_BYTES, MOST_BYTES, UNITS = 8_000_000, 64_000_000, 16
"""Of the input in a unit, where the user leaves its size open: enough units for the threads of a machine, but no small
shards."""


def make_units(fragments: Sequence[Fragment], *, target_bytes: int | None = None) -> list[WorkUnit]:
    """Cut `fragments` into units of at least `target_bytes` (the last may be smaller); None: a sixteenth of the whole, but 8 to
    64 MB.

    A huge file gives many units, since its fragments are row groups or byte ranges; ten thousand tiny files give few.
    """
    if target_bytes is None:
        target_bytes = max(LEAST_BYTES, min(MOST_BYTES, sum(one.nbytes for one in fragments) // UNITS))
    units: list[WorkUnit] = []
    group: list[tuple[int, Fragment]] = []
    size = 0
    for numbered in enumerate(fragments):
        group.append(numbered)
        size += numbered[1].nbytes
        if size >= target_bytes:
            units.append(WorkUnit(len(units), tuple(group)))
            group, size = [], 0
    if group:
        units.append(WorkUnit(len(units), tuple(group)))
    return units
