"""Byte ranges: neighbours become one request, long ones several at once."""

from collections.abc import Iterable

Range = tuple[int, int]
"""(first byte, one past the last)."""


def coalesce(ranges: Iterable[Range], *, gap: int) -> list[Range]:
    """The ranges, sorted, with those merged that touch, overlap, or lie at most `gap` bytes apart.

    Reading a gap costs its bytes; a request of its own costs a round trip. [(0, 2), (3, 5), (90, 95)] with gap 1 gives
    [(0, 5), (90, 95)].
    """
    merged: list[Range] = []
    for start, stop in sorted(one for one in ranges if one[0] < one[1]):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def cut(ranges: Iterable[Range], *, part: int) -> list[Range]:
    """The ranges in parts of about `part` bytes, to be fetched side by side.

    Cuts stand at multiples of `part` in the object, where stores that keep objects in blocks have theirs. A rest at either
    end that is shorter than a quarter of a part goes with its neighbour: none is longer than one and a half.
    """
    least = part // 4
    parts: list[Range] = []
    for start, stop in ranges:
        edges = [start, *range((start // part + 1) * part, stop, part), stop]
        if len(edges) > 2 and edges[1] - start < least:
            del edges[1]
        if len(edges) > 2 and stop - edges[-2] < least:
            del edges[-2]
        parts.extend(zip(edges[:-1], edges[1:], strict=True))
    return parts
