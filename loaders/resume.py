"""A saved state of an iterator with workers, read."""

import pickle
from dataclasses import dataclass
from typing import Any

from forebay.loaders.restore import WorkersDifferError
from forebay.loaders.stateful import (
    DATASET,
    DATASET_ITER,
    FETCHER,
    FINISHED,
    LAST_WORKER,
    MAIN,
    NUM_WORKERS,
    SNAPSHOT,
    SNAPSHOT_STEP,
    STEPS_SINCE,
    WORKERS,
    worker_key,
)


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
    def of(cls, state: dict[str, Any], workers: int) -> "Resume":
        """Read a state.

        Raises:
            WorkersDifferError: it was made with another number of workers.
        """
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


def _has_no_state(worker: dict[str, Any]) -> bool:
    """Whether an IterableDataset in a worker told nothing about where it is."""
    fetcher = worker[FETCHER]
    return fetcher is not None and worker[DATASET] is None and fetcher[DATASET_ITER] is None
