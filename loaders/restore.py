"""What a saved state asks of a new iterator."""

import logging
from collections.abc import Iterator
from typing import Any

import torch

from forebay.formats.errors import StateError
from forebay.loaders.stateful import MAIN, NUM_WORKERS, NUM_YIELDED, RANDOM, SNAPSHOT

_LOG = logging.getLogger(__name__)
_END = object()


class WorkersDifferError(StateError, AssertionError):
    """A state was made with another number of workers. (An AssertionError too, since torchdata's loader raises that.)"""


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


def run_again(iterator: Iterator[Any], steps: int, *, finished: bool) -> None:
    """Make the batches before a state again, and drop them.

    Raises:
        StateError: there are fewer, and the epoch had not ended.
    """
    for step in range(steps):
        if next(iterator, _END) is _END:
            if finished:
                return  # torchdata counts some batches of a finished epoch twice
            raise StateError(
                f"the state was made behind batch {steps}, but the data set ends after {step} batches now: give the data set "
                "that the state was made with"
            )


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
