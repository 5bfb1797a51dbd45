"""What a saved state asks of a new iterator."""

import logging
import pickle
from dataclasses import dataclass
from typing import Any

import torch

from forebay.formats.errors import StateError
from forebay.loaders.stateful import (
    DATASET,
    DATASET_ITER,
    FETCHER,
    FINISHED,
    LAST_WORKER,
    MAIN,
    NUM_WORKERS,
    NUM_YIELDED,
    RANDOM,
    SNAPSHOT,
    SNAPSHOT_STEP,
    STEPS_SINCE,
    WORKERS,
    worker_key,
)

_LOG = logging.getLogger(__name__)


class WorkersDifferError(StateError, AssertionError):
    """A state was made with another number of workers. (An AssertionError too, since torchdata's loader raises that.)"""


@dataclass(frozen=True, slots=True)
class Resume:
    """A state of an iterator with workers, read."""

    main: dict[str, Any]
    worker_states: list[bytes | None]
    step: int
    """Batches delivered at the snapshot."""
    last_worker: int
    """The worker that made the last of them."""
    steps_since: int
    """Batches delivered after it."""
    finished: bool
    replay_all: bool
    """Whether the data set can only be run up to there again."""

    @classmethod
    def of(cls, state: dict[str, Any] | None, workers: int) -> "Resume | None":
        """Read a state.

        Raises:
            WorkersDifferError: it was made with another number of workers.
        """
        if state is None:
            return None
        if SNAPSHOT not in state:
            raise WorkersDifferError(
                f"the state was made with num_workers=0, this loader has num_workers={workers}: give the same"
            )
        snapshot = state[SNAPSHOT]
        main, told = snapshot[MAIN], snapshot[WORKERS]
        if main[NUM_WORKERS] != workers or len(told) != workers:
            raise WorkersDifferError(
                f"the state was made with num_workers={main[NUM_WORKERS]}, this loader has num_workers={workers}: give the same"
            )
        states = [told[worker_key(worker)] for worker in range(workers)]
        return cls(
            main=main,
            worker_states=[pickle.dumps(one) for one in states],
            step=snapshot[SNAPSHOT_STEP],
            last_worker=snapshot[LAST_WORKER],
            steps_since=state[STEPS_SINCE],
            finished=state[FINISHED],
            replay_all=_has_no_state(states[0]),
        )


def check_single(state: dict[str, Any]) -> None:
    """Refuse a state that was made with workers.

    Raises:
        WorkersDifferError: it was.
    """
    if NUM_YIELDED not in state:
        found = state.get(SNAPSHOT, {}).get(MAIN, {}).get(NUM_WORKERS, "some")
        raise WorkersDifferError(
            f"the state was made with num_workers={found}, this loader has num_workers=0: give the same"
        )


def say_replay(steps: int) -> None:
    """Warn that a resume costs as much as what it skips."""
    if steps > 0:
        _LOG.warning(
            "the data set has no state_dict and load_state_dict, nor has its iterator: it is run again for the %s batches "
            "before the state. With these two methods it would go on at once.",
            steps,
        )


def _has_no_state(worker: dict[str, Any]) -> bool:
    """Whether an IterableDataset in a worker told nothing about where it is."""
    fetcher = worker[FETCHER]
    return fetcher is not None and worker[DATASET] is None and fetcher[DATASET_ITER] is None


def generator_state(generator: torch.Generator | None, globally: bool = False) -> dict[str, Any]:
    """What a state holds of the generator that the next epoch draws from."""
    if generator is not None:
        return {RANDOM: generator.get_state()}
    return {RANDOM: torch.get_rng_state()} if globally else {}


class Undrawn:
    """torch's generators, as they were before an iterator was made only to go on where another was."""

    def __init__(self, generator: torch.Generator | None) -> None:
        self._generator = generator
        self._before = torch.get_rng_state()

    def restore(self, state: dict[str, Any]) -> None:
        """Undo the draws since; and let the loader's own generator go on where the state says."""
        torch.set_rng_state(self._before)
        if self._generator is not None and RANDOM in state:
            self._generator.set_state(state[RANDOM])


class RestoredSeed:
    """A seed that torch's iterator draws; when a state is loaded, its seed is used instead."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __get__(self, iterator: Any, owner: type) -> Any:
        return iterator.__dict__[self._key]

    def __set__(self, iterator: Any, drawn: Any) -> None:
        resume = iterator.__dict__.get("_resume")
        iterator.__dict__[self._key] = drawn if resume is None else resume.main.get(self._key, drawn)
