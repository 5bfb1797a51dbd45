"""What stands in for a worker comes to where that one was, and says so when it cannot."""

import pickle
import random
from typing import Any

import numpy as np
import torch

from forebay.loaders.generator_states import generator_states, set_generators
from forebay.loaders.replay import Replay
from forebay.loaders.stateful import DATASET, DATASET_ITER, ENDED, FETCHER


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


class Fetcher:
    def __init__(self, rows: int) -> None:
        self.rows, self.ended, self.asked = iter(range(rows)), False, 0

    def fetch(self, index: Any) -> int:
        self.asked += 1
        drawn()
        if self.asked == 2:
            raise ValueError("bad")
        return next(self.rows)


def test_all_three_generators_are_put_back() -> None:
    states = generator_states()
    expected = drawn()
    set_generators(states)
    assert drawn() == expected


def test_generators_are_those_of_before_and_then_those_of_the_state() -> None:
    before = generator_states()
    first = drawn()
    after = generator_states()
    second = drawn()
    replay = Replay(None, before, after)
    replay.begin()
    assert drawn() == first
    assert replay.run(Fetcher(3), lambda: None) is None and drawn() == second


def test_batches_are_made_again_with_their_draws_and_errors() -> None:
    before, fetcher = generator_states(), Fetcher(5)
    for _ in range(4):
        drawn()
    expected = drawn()
    replay = Replay(None, before, None, (None,) * 4)
    replay.begin()
    assert replay.run(fetcher, lambda: None) is None
    assert fetcher.asked == 4 and next(fetcher.rows) == 3 and drawn() == expected


def test_a_fetcher_that_had_ended_has_ended() -> None:
    for ended in (False, True):
        fetcher = Fetcher(1)
        state = pickle.dumps({DATASET: None, FETCHER: {DATASET_ITER: {"at": 0}, ENDED: ended}})
        assert Replay(state).run(fetcher, lambda: None) is None and fetcher.ended == ended


def test_fewer_batches_than_before_are_told_of() -> None:
    told = Replay(None, tasks=(None,) * 9).run(Fetcher(4), lambda: None)
    assert told is not None and "gave 9 batches before the worker died, and 5 when it was iterated again" in told
