"""Processes that fill the same cache share the work, and compute each unit once."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support import cache_work

from forebay.engine.cache_fill import fill


@pytest.mark.parametrize("local", [True, False])
def test_units_that_others_are_at_are_asked_for_last(local: bool) -> None:
    asked: list[int] = []

    def unit(at: int) -> int:
        asked.append(at)
        return at * at

    found = fill(unit, 8, busy=lambda at: at in (0, 3) and len(asked) < 6, local=local, nbytes=lambda at: 1)
    assert found == [at * at for at in range(8)]
    assert sorted(asked) == list(range(8)) and set(asked[-2:]) == {0, 3}


def test_ranks_of_a_node_that_fill_a_cache_together_compute_each_unit_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    command = [sys.executable, cache_work.__file__, "fill_shared", str(tmp_path / "cache"), str(journal)]
    ranks = [subprocess.Popen(command) for _ in range(3)]
    assert [one.wait(60) for one in ranks] == [0] * 3
    notes = [line.split() for line in journal.read_text().splitlines()]
    assert sorted(int(at) for _, at in notes) == list(range(24))
    assert set(Counter(rank for rank, _ in notes)) <= {str(one.pid) for one in ranks}
