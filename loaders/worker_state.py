"""The state of the data set in a worker: told after each batch that is asked for, restored before the first."""

import pickle
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import _DatasetKind

from forebay.loaders.stateful import (
    DATASET,
    DATASET_ITER,
    FETCHER,
    WORKER,
    Stateful,
    fetcher_states,
)


@dataclass(slots=True)
class WorkerState:
    """Sits where torch's worker loop makes its fetcher, so it sees the data set and its iterator."""

    worker: int
    restore: bytes | None
    """The state to begin from, pickled."""
    _fetcher: Any = field(default=None, repr=False)
    iterable: bool = False
    """Whether the data set is iterated, and not asked by number."""
    stateful: bool = False
    """Whether it, or its iterator, has a state."""
    _last: bytes | None = None

    def create_fetcher(self, make: Any, kind: int, dataset: Any, *rest: Any) -> Any:
        """What `_DatasetKind.create_fetcher` does, with the state restored in torchdata's order: the data set, then its
        iterator."""
        self.iterable = kind == _DatasetKind.Iterable
        restore, self.restore = self.restore, None
        state = pickle.loads(restore) if restore is not None else {}
        if state.get(DATASET) is not None and isinstance(dataset, Stateful):
            dataset.load_state_dict(state[DATASET])
        self._fetcher = make(kind, dataset, *rest)
        inner = (state.get(FETCHER) or {}).get(DATASET_ITER)
        if inner is not None and isinstance(self._fetcher.dataset_iter, Stateful):
            self._fetcher.dataset_iter.load_state_dict(inner)
        self._last = None
        return self._fetcher

    def changed(self, *, again: bool = False) -> bytes | None:
        """The state, pickled; None while it is what was told last. `again`: whoever is told will not mind, so tell it anew
        next time."""
        if self._fetcher is None:
            return None
        fetcher, dataset = fetcher_states(self.iterable, self._fetcher)
        self.stateful = dataset is not None or (fetcher or {}).get(DATASET_ITER) is not None
        found = pickle.dumps({WORKER: self.worker, FETCHER: fetcher, DATASET: dataset})
        if found == self._last:
            return None
        self._last = None if again else found
        return found
