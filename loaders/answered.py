"""How far a worker has come, as far as the loader has heard: what one that stands in for it must know."""

import pickle
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data._utils.worker import _IterableDatasetStopIteration

from forebay.loaders.note import Note
from forebay.loaders.replay import Replay
from forebay.loaders.stateful import DATASET, DATASET_ITER, FETCHER


@dataclass(slots=True)
class Answered:
    """One worker's answers. A batch counts when it has arrived, delivered or not: only the others are asked for again."""

    iterable: bool
    state: bytes | None
    """Of its data set, as told last."""
    generation: int = 0
    """The epoch of the iterator that the answers belong to."""
    ended: bool = False
    """Whether its data set has no more batches in this epoch."""
    resumed: Any = None
    """torch's signal to begin an epoch, from when the worker has acknowledged it until it has told its first state of that."""
    _before: bytes | None = None
    _generators: bytes | None = None
    _since: list[Any] = field(default_factory=list)
    """Indices of the tasks answered behind `state`, where they move the data set."""
    _stateful: bool = False

    @property
    def in_order(self) -> bool:
        """Whether a batch depends on those before it."""
        return self.iterable or self._stateful

    def begun(self, note: Note) -> None:
        """The worker has begun an epoch."""
        if note.again:
            return
        self.generation, self.state, self.resumed = note.generation, note.state or self.state, None
        self._before, self._generators, self.ended = note.generators, None, False
        self._since = []
        self._stateful = note.state is not None and _is_stateful(note.state)

    def answered(self, index: Any, *, told: bool, data: Any, note: Note | None) -> None:
        """A batch has arrived. `told`: whether the state behind it was asked for."""
        self.ended = self.iterable and isinstance(data, _IterableDatasetStopIteration)
        if self._stateful and (told or self.ended):
            self._generators = None if note is None else note.generators
            self.state = self.state if note is None or note.state is None else note.state
            self._since = []
        elif self.ended:  # the next epoch goes on with these generators
            self._generators, self._since = None if note is None else note.generators, []
        elif self.iterable:
            self._since.append(self._since[0] if self._since else index)  # all the same: one object is enough
        elif self._stateful:
            self._since.append(index)

    def replay(self) -> Replay:
        """For the one that stands in."""
        return Replay(self.state, self._before, self._generators, tuple(self._since))


def _is_stateful(state: bytes) -> bool:
    told = pickle.loads(state)
    return told[DATASET] is not None or (told[FETCHER] or {}).get(DATASET_ITER) is not None
