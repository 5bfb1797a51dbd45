"""The order of a mixture: which member gives the row at a position, in which of its passes, and which row of that pass it is.

A pure function of the position, exact at each. Where members are read in lanes (see `WindowOrder`), the row at position p
comes from lane p % lanes of its member, so that a rank that takes each W-th position reads lanes of its own of all members.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Part(NamedTuple):
    """Rows of one pass over one member."""

    at: Ints
    """(n,) indices into the positions that were asked for."""
    lap: int
    """Passes of this member before."""
    rows: Ints
    """(n,) positions of the pass."""


class Lap(NamedTuple):
    """One pass over a member."""

    before: Ints
    """(L,) rows that each lane was asked for before it."""
    body: int
    """Rows in lanes; the others come when a lane is asked for more than all have."""


class MixOrder:
    """Positions of a mixture and rows of its members.

    Letters: S parts of all weights together, L lanes, g their greatest common divisor.

    S positions that begin at a multiple of S have each member as often as its weight says, in an even pattern. Lane l sees
    each L-th position, and so, were the pattern always the same, only every g-th of its places. Therefore it is turned by one
    place each time that all lanes have seen all they can of it, which is after S * L / g positions. After S * L positions
    each lane has been asked for as many rows of each member as its weight.

    In between, lanes are asked for rows of a member unequally often. So a pass has as many rows of each lane in lanes as the
    lane that is asked for the fewest in this pass, and the rest behind all lanes, whichever lane they are asked of.
    """

    def __init__(self, weights: Sequence[int], sizes: Sequence[int], lanes: int = 1) -> None:
        self.weights, self.sizes, self.lanes = tuple(weights), tuple(sizes), lanes
        self._parts, self._divisor = sum(weights), gcd(sum(weights), lanes)
        self._cycle = self._parts // self._divisor
        """Places of the pattern that a lane sees before it is turned."""
        self._members = [_Member(one, lanes, self._parts) for one in _pattern(self.weights, lanes)]
        self._of = np.zeros(self._parts, np.int16 if len(weights) < 1 << 15 else np.int64)
        self._nth, self._nth_in_class = np.zeros(self._parts, np.int32), np.zeros(self._parts, np.int32)
        for number, member in enumerate(self._members):
            self._of[member.places] = number
            self._nth[member.places] = np.arange(len(member.places))
            self._nth_in_class[member.places] = member.nth_in_class()
        self.lap: Callable[[int, int], Lap] = lru_cache(maxsize=64)(self._lap)

    def split(self, positions: Ints) -> list[list[Part]]:
        """For each member, what it gives of the rows at `positions` (N,)."""
        place, turn = self._place(positions)
        members = self._of[place]
        found = []
        for number in range(len(self.weights)):
            at = np.flatnonzero(members == number)
            found.append(self._parts_of(number, at, positions[at], place[at], turn[at]) if len(at) else [])
        return found

    def given(self, position: int) -> list[int]:
        """Rows that each member has given before a position."""
        whole, rest = divmod(position, self._parts)
        turn = self._turn(position)
        return [len(one.places) * whole + one.between(turn, turn + rest) for one in self._members]

    def floors(self, position: int) -> list[tuple[int, int]]:
        """For each member (lap, position of that pass) that no row at `position` or behind it comes before."""
        found = []
        for number, given in enumerate(self.given(position)):
            lap = given // self.sizes[number]
            asked = self._asked(number, np.array([position]))[0] - self.lap(number, lap).before
            found.append((lap, min(int(asked.min()) * self.lanes, self.lap(number, lap).body)))
        return found

    def _place(self, positions: Ints) -> tuple[Ints, Ints]:
        """(place in the pattern, how far it is turned) at each position."""
        turn = positions // (self._cycle * self.lanes) % self._divisor
        return (positions + turn) % self._parts, turn

    def _turn(self, position: int) -> int:
        return position // (self._cycle * self.lanes) % self._divisor

    def _parts_of(self, number: int, at: Ints, positions: Ints, place: Ints, turn: Ints) -> list[Part]:
        weight, size, member = self.weights[number], self.sizes[number], self._members[number]
        given = positions // self._parts * weight + (self._nth[place] - member.before_turn[turn]) % weight
        laps = given // size
        found = []
        for lap in range(int(laps[0]), int(laps[-1]) + 1) if _ascending(laps) else np.unique(laps).tolist():
            here = slice(*np.searchsorted(laps, [lap, lap + 1])) if _ascending(laps) else np.flatnonzero(laps == lap)
            if not len(at[here]):
                continue
            one = self.lap(number, lap)
            rows = given[here] - lap * size
            if self.lanes > 1 and one.body:
                lane = positions[here] % self.lanes
                nth = self._asked_here(number, positions[here], place[here], turn[here]) - one.before[lane]
                inside = nth < one.body // self.lanes
                behind = np.flatnonzero(~inside)
                if len(behind):
                    asked = self._asked(number, positions[here][behind]) - one.before
                    rows[behind] += one.body - np.minimum(asked, one.body // self.lanes).sum(axis=1)
                rows[inside] = nth[inside] * self.lanes + lane[inside]
            found.append(Part(at[here], lap, rows))
        return found

    def _asked_here(self, number: int, positions: Ints, place: Ints, turn: Ints) -> Ints:
        """How often the lane of each position was asked for a row of the member before; its row is the next."""
        member, lane = self._members[number], positions % self.lanes
        whole = positions // (self._parts * self.lanes) * self.weights[number]
        since = (self._nth_in_class[place] - member.at_turn[turn, lane]) % member.in_class[
            (lane + turn) % self._divisor
        ]
        found: Ints = whole + member.before_in_turns[turn, lane] + since
        return found

    def _asked(self, number: int, positions: Ints) -> Ints:
        """(N, L) how often each lane was asked for a row of a member before each position."""
        member, lanes = self._members[number], np.arange(self.lanes)
        block, rest = np.divmod(positions, self._parts * self.lanes)
        turn, rest = np.divmod(rest, self._cycle * self.lanes)
        steps = (rest[:, None] + self.lanes - 1 - lanes) // self.lanes
        return block[:, None] * self.weights[number] + member.before_in_turns[turn] + member.along(turn, steps)

    def _lap(self, number: int, lap: int) -> Lap:
        """What a member's pass has in lanes."""
        size = self.sizes[number]
        ends = np.array([self._position_of(number, one * size) for one in (lap, lap + 1)])
        before, after = self._asked(number, ends)
        return Lap(before, int((after - before).min()) * self.lanes)

    def _position_of(self, number: int, row: int) -> int:
        """The position of a member's row, counted through all passes."""
        whole, nth = divmod(row, self.weights[number])
        start = whole * self._parts
        turn, member = self._turn(start), self._members[number]
        # a turn begins at a multiple of S, so the whole of these S positions has the same
        place = int(member.places[(nth + int(member.before_turn[turn])) % len(member.places)])
        return start + (place - turn) % self._parts


class _Member:
    """Where a member stands in the pattern, and in the g classes of places that lanes see between two turns of it."""

    def __init__(self, places: Ints, lanes: int, parts: int) -> None:
        self.places = places
        """(w,) ascending."""
        self._parts, self._lanes, self._divisor = parts, lanes, gcd(parts, lanes)
        self._cycle = parts // self._divisor
        self._lying = np.sort(self._along(places))
        """(w,) the same by class, and in a class in the order in which lanes come by; ascending."""
        turns, lane = np.arange(self._divisor), np.arange(lanes)
        self.before_turn = np.searchsorted(places, turns)
        """(g,) how often it stands in the part of the pattern that a turn has put behind."""
        edges = np.searchsorted(self._lying, np.arange(self._divisor + 1) * self._cycle)
        self.in_class = np.diff(edges)
        """(g,) how often it stands in a class."""
        seen = self.in_class[(turns[:, None] + lane) % self._divisor]
        self.before_in_turns = np.cumsum(seen, axis=0) - seen
        """(g, L) how often each lane came by it in the turns before, since the last S * L positions began."""
        self._first = self._along((turns[:, None] + lane) % parts)
        """(g, L) where each lane begins in its class."""
        self._edges = edges[:-1]
        self.at_turn = np.searchsorted(self._lying, self._first) - self._class_edges()
        """(g, L) how often it stands in a class before there."""

    def nth_in_class(self) -> Ints:
        """(w,) how often it stands in the class of each of its places before that."""
        lying = self._along(self.places)
        found: Ints = np.searchsorted(self._lying, lying) - self._edges[lying // self._cycle]
        return found

    def between(self, first: int, stop: int) -> int:
        """How often it stands in places `first` to `stop` of the pattern, which goes on with its beginning."""
        whole = (stop // self._parts - first // self._parts) * len(self.places)
        return whole + bisect_left(self.places, stop % self._parts) - bisect_left(self.places, first % self._parts)

    def along(self, turn: Ints, steps: Ints) -> Ints:
        """(N, L) how often each lane comes by it in so many steps (N, L) of a turn (N,)."""
        start = self._first[turn]
        class_ = start // self._cycle
        end = start % self._cycle + steps
        wrapped, end = np.divmod(end, self._cycle)
        found: Ints = (
            np.searchsorted(self._lying, class_ * self._cycle + end)
            - np.searchsorted(self._lying, start)
            + wrapped * self.in_class[class_]
        )
        return found

    def _class_edges(self) -> Ints:
        found: Ints = self._edges[self._first // self._cycle]
        return found

    def _along(self, places: Ints) -> Ints:
        """Number of a place by class (its remainder by g), and in that by steps of L places from the class's first."""
        class_ = places % self._divisor
        inverse = pow(self._lanes // self._divisor, -1, self._cycle) if self._cycle > 1 else 0
        return class_ * self._cycle + (places - class_) // self._divisor * inverse % self._cycle


def _pattern(weights: Sequence[int], lanes: int) -> list[Ints]:
    """For each member its places among the S of the pattern, ascending, evenly spread.

    Member by member, place p belongs to a member of weight w out of the remaining W when floor((p + 1) w / W) is greater than
    floor(p w / W); what is left is numbered anew for the others. Then each L places are turned by one more than the L before:
    with weights near to a few parts (300,001 of 10^6) a lane would else see the same few of them for long.
    """
    left = parts = sum(weights)
    at = remaining = np.arange(left)
    found = []
    for weight in weights:
        before = remaining * weight // left
        mine = (remaining + 1) * weight // left > before
        found.append(np.sort(_turned(at[mine], parts, lanes)))
        at, remaining = at[~mine], (remaining - before)[~mine]
        left -= weight
    return found


def _turned(places: Ints, parts: int, lanes: int) -> Ints:
    group, inside = np.divmod(places, lanes)
    return np.where(group < parts // lanes, group * lanes + (inside + group) % lanes, places)


def _ascending(values: Ints) -> bool:
    return bool((np.diff(values) >= 0).all())
