"""What it takes to be stateful, and the words in which torchdata's `StatefulDataLoader` writes a state down.

States go both ways between the two loaders, so the words are torchdata's.
"""

from typing import Any, Protocol, TypeGuard, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """A data set, sampler, or iterator of one, that can say where it is and go on from there."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go there."""


def is_stateful(one: Any) -> TypeGuard[Stateful]:
    """What `isinstance(one, Stateful)` says; that takes 20 microseconds, too long for each batch."""
    return hasattr(one, "state_dict") and hasattr(one, "load_state_dict")


SNAPSHOT = "_snapshot"
SNAPSHOT_STEP = "_snapshot_step"
LAST_WORKER = "_last_yielded_worker_id"
MAIN = "_main_snapshot"
WORKERS = "_worker_snapshots"
STEPS_SINCE = "_steps_since_snapshot"
FINISHED = "_iterator_finished"
NUM_WORKERS = "_num_workers"
NUM_YIELDED = "_num_yielded"
BASE_SEED = "_base_seed"
SHARED_SEED = "_shared_seed"
LEN_CALLED = "_IterableDataset_len_called"
INDEX_SAMPLER = "_index_sampler_state"
SAMPLER_ITER = "_sampler_iter_state"
SAMPLER_YIELDED = "_sampler_iter_yielded"
RANDOM = "_random_state"
"""Not torchdata's: torch's generator, from which the next epoch draws. There is one where the loader was given a generator,
and at the end of an epoch whose order came from the global one."""

SAMPLER_EPOCH = "_sampler_epoch"
"""Not torchdata's: the epoch that a DistributedSampler was set to."""

WORKER = "worker_id"
FETCHER = "fetcher_state"
ENDED = "fetcher_ended"
DATASET = "dataset_state"
DATASET_ITER = "dataset_iter_state"


def worker_key(worker: int) -> str:
    """The name under which a worker's state stands."""
    return f"worker_{worker}"


def state_of(one: Any) -> dict[str, Any] | None:
    """The state of something, None where it has none."""
    return one.state_dict() if is_stateful(one) else None


def fetcher_states(kind_is_iterable: bool, fetcher: Any) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The states of torch's fetcher and of its data set. A data set that is its own iterator is told once."""
    if not kind_is_iterable:
        return None, state_of(fetcher.dataset)
    found = {DATASET_ITER: state_of(fetcher.dataset_iter), ENDED: fetcher.ended}
    return found, None if fetcher.dataset_iter is fetcher.dataset else state_of(fetcher.dataset)
