"""Which units go when a cache is full: Belady's rule where the future is known, least recently used where it is not.

Belady, L. A. (1966), A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5(2).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Resident:
    """A unit in the cache, as eviction sees it."""

    key: str
    nbytes: int
    used_ns: int
    """Time of its last use by any process."""


class Future:
    """The order in which keys will be asked for. Not thread-safe; the cache guards it.

    A key's uses are struck off one by one as they happen, so the order in which threads ask does not matter.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._uses: dict[str, deque[int]] = {}
        for at, key in enumerate(keys):
            self._uses.setdefault(key, deque()).append(at)

    def used(self, key: str) -> None:
        """A use of `key` happened."""
        uses = self._uses.get(key)
        if uses:
            uses.popleft()

    def next_use(self, key: str) -> float:
        """Position of its next use; `NEVER` when there is none."""
        uses = self._uses.get(key)
        return uses[0] if uses else NEVER


def choose_victims(
    residents: Sequence[Resident], need: int, *, future: Future | None = None, incoming: str | None = None
) -> list[Resident] | None:
    """Units to give up so that `need` bytes come free; None when the incoming unit is not worth it.

    With a future, the unit that is used last goes first, and none goes that is used before the incoming one: leaving
    the incoming out is then the better choice. Without, the least recently used go first.
    None also if all are too few.
    """
    if future is None:
        ordered = sorted(residents, key=lambda one: (one.used_ns, one.key))
    else:
        next_use = {one.key: future.next_use(one.key) for one in residents}
        arrives = future.next_use(incoming) if incoming is not None else -1.0
        later = [one for one in residents if next_use[one.key] > arrives or next_use[one.key] == NEVER]
        ordered = sorted(later, key=lambda one: (-next_use[one.key], one.used_ns, one.key))
    victims: list[Resident] = []
    for one in ordered:
        if need <= 0:
            break
        victims.append(one)
        need -= one.nbytes
    return victims if need <= 0 else None
