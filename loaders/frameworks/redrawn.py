"""A random sampler that draws the same order again: it remembers the state of its generator before it drew."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import RandomSampler, Sampler


class Redrawn(Sampler[int]):
    """Stands for a `RandomSampler` that has a generator of its own, which the ranks keep alike."""

    def __init__(self, sampler: RandomSampler) -> None:
        self._sampler = sampler
        self._before: torch.Tensor | None = None
        self._again = False

    @property
    def generator(self) -> torch.Generator:
        """The sampler's; accelerate looks for it."""
        return self._sampler.generator

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[int]:
        if self._again and self._before is not None:
            self.generator.set_state(self._before)
        self._before, self._again = self.generator.get_state(), False
        yield from self._sampler

    def state_dict(self) -> dict[str, Any]:
        """The generator before the epoch's order was drawn from it, and now."""
        return {"before": self._before, "now": self.generator.get_state()}

    def go_on(self, state: dict[str, Any], *, begun: bool) -> None:
        """Draw the state's order again, if its epoch is in the middle, or the one after."""
        self._before, self._again = state["before"], begun
        self.generator.set_state(state["now"])
