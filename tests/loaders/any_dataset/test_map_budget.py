"""A worker maps slots only while it does nothing but copy, and a single wait does not make it begin anew."""

from types import SimpleNamespace

import pytest

from forebay.loaders import map_budget
from forebay.loaders.arena import Arena
from forebay.loaders.map_budget import MapBudget

MB = 1 << 20


class Worker:
    """A worker whose clock the test moves: each batch of 32 MB takes 10 ms, the first `waited` of them for the task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        arena = Arena.create(8, 64 * MB)
        assert arena is not None
        self.budget, self._now, self._cpu = MapBudget(arena, workers=2), 0.0, 0.0
        clock = SimpleNamespace(perf_counter=lambda: self._now, thread_time=lambda: self._cpu)
        monkeypatch.setattr(map_budget, "time", clock)

    def batches(self, count: int, *, waited: float = 0.0, cpu: float = 0.01) -> None:
        for _ in range(count):
            self.budget.done()
            self._now += waited
            self.budget.begin(32 * MB)
            self._now += 0.01 - waited
            self._cpu += cpu

    def mapped(self) -> list[int]:
        """MB of each slot that are stored through the mapping."""
        return [self.budget.of(slot, 32 * MB) // MB for slot in range(4)]


def test_a_worker_that_only_copies_maps_a_batch_for_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch)
    worker.batches(20)
    assert worker.mapped() == [0, 0, 0, 0]
    worker.batches(20)
    assert worker.mapped() == [32, 32, 0, 0]


def test_a_single_wait_changes_nothing_and_waiting_on_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch)
    worker.batches(80)
    worker.batches(2, waited=0.009)
    assert worker.mapped() == [32, 32, 0, 0]
    worker.batches(20, waited=0.009)
    assert worker.mapped() == [0, 0, 0, 0]


def test_a_worker_that_computes_maps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch)
    worker.batches(80, cpu=1.0)
    assert worker.mapped() == [0, 0, 0, 0]
