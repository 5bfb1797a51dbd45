"""What a worker does first when it stands in for one that died: it comes to where that one was."""

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forebay.loaders.generator_states import set_generators
from forebay.loaders.stateful import ENDED, FETCHER

_TELL_S = 0.2
"""How often it says meanwhile that it is not stuck."""


@dataclass(frozen=True, slots=True)
class Replay:
    """From the state told last to the last batch that arrived. What lies between is made again, and dropped."""

    state: bytes | None
    """Of the data set, pickled; None: as it is where a worker begins."""
    before: bytes | None = None
    """Generators as they were before the data set was iterated; None: as torch seeds them."""
    generators: bytes | None = None
    """Generators as of `state`, where that was told behind a batch."""
    tasks: tuple[Any, ...] = ()
    """Indices of the batches that came behind it."""

    def begin(self) -> None:
        """Before the data set is iterated."""
        if self.before is not None:
            set_generators(self.before)

    def run(self, fetcher: Any, say: Callable[[], None]) -> str | None:
        """After it. `fetcher` is torch's, with the state restored; `say` tells the loader that the worker is at work.

        Returns:
            What is wrong, where the data set does not give what it gave before.
        """
        told = (pickle.loads(self.state)[FETCHER] if self.state is not None else None) or {}
        if told.get(ENDED):
            # a state that a loader resumes from has the fetcher ask once more; here it is known to have ended
            fetcher.ended = True
        if self.generators is not None:
            set_generators(self.generators)
        last = time.monotonic()
        for number, index in enumerate(self.tasks):
            try:
                fetcher.fetch(index)
            except StopIteration:
                return (
                    f"the data set gave {len(self.tasks)} batches before the worker died, and {number} when it was iterated "
                    "again in its place: on_worker_death='restart' is for data sets that give the same each time, or that have "
                    "state_dict and load_state_dict; leave it out for this one"
                )
            except Exception:  # noqa: BLE001  # it was raised in the loader then
                pass
            if time.monotonic() - last > _TELL_S:
                say()
                last = time.monotonic()
        return None
