"""What forebay's loader must reach beside torch's, and whether a table of `loader_torch` shows it."""

from collections.abc import Iterator, Sequence
from typing import Any

_READY, _SLOW = 5.0, 1.4
"""Times as fast as torch's loader."""
_NOISE = 0.95
"""A rate is lower when its median is below this, and no turn shows otherwise."""
_FIRST_NOISE_S = 0.005
"""Times to the first batch that differ by less are the same, as are those within 5 %."""
_MEMORY = {
    "peak_pss": "PSS",
    "peak_own": "PSS without pages of files, in which others that run torch have a part,",
    "peak_held": "PSS and what is held open",
}


def demands(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each demand that these rows can tell of."""
    found = [*_speed(rows), *_never_slower(rows), *_first(rows)]
    for figure, name in _MEMORY.items():
        failing = [
            f"{one['name']} ({one[f'forebay_{figure}'] / 1e6:,.0f} MB for {one[f'torch_{figure}'] / 1e6:,.0f})"
            for one in rows
            if one[f"forebay_{figure}"] >= one[f"torch_{figure}"]
        ]
        found.append(_line(f"{name} below torch's in every setting", failing))
    return found


def _speed(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in rows:
        if one["name"] == "ready":
            for figure, name in (("per_wall_s", "second"), ("per_cpu_s", "CPU second")):
                times = one[f"times_{figure}"][0]
                failing = [] if times >= _READY else [f"{times:.2f}"]
                yield _line(f"ready: {_READY:.0f} times as fast by {name} (is {times:.2f})", failing)
        if one["name"] == "slow":
            times, most = one["times_per_wall_s"][0], 1 / one["shares"][0]
            failing = [] if times >= _SLOW else [f"{times:.2f}; what the workers make at most is {most:.2f}"]
            yield _line(f"slow: {_SLOW} times as fast by second", failing)


def _never_slower(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    timed = [one for one in rows if "times_per_wall_s" in one]
    for figure, name in (("per_wall_s", "second"), ("per_cpu_s", "CPU second")):
        failing = [
            f"{one['name']} ({one[f'times_{figure}'][0]:.2f})"
            for one in timed
            if one[f"times_{figure}"][0] < _NOISE and one[f"times_{figure}"][2] < 1
        ]
        if timed:
            yield _line(f"never slower by {name}", failing)


def _first(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    starts = [one for one in rows if "times_per_wall_s" not in one]
    failing = [
        f"{one['name']} ({one['forebay_first_batch_s']:.3f} s for {one['torch_first_batch_s']:.3f})"
        for one in starts
        if one["forebay_first_batch_s"] > one["torch_first_batch_s"] / _NOISE + _FIRST_NOISE_S
    ]
    if starts:
        yield _line("first batch no later", failing)


def _line(demand: str, failing: list[str]) -> str:
    return f"{demand}: reached" if not failing else f"{demand}: NOT reached: {', '.join(failing)}"
