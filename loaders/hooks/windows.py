"""Tell each batch how many real tokens its whole accumulation window holds, on all ranks.

Needed where a framework owns the step. Lightning and accelerate divide each microbatch's loss by the number of
microbatches, which weighs tokens unevenly as soon as batches hold different numbers of them (pytorch-lightning#20350).
With the window's count at hand the loss is right from the first microbatch on:

    loss = loss_sum * world * accumulate / batch["num_items_in_window"]

`world` undoes the mean over ranks that DDP and FSDP take, `accumulate` undoes the framework's division (leave it out
where there is none). `TrainStep` needs no such count.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist

from forebay.formats.errors import SchemaError, SpecError
from forebay.loaders.hooks.delivered_state import DeliveredState

KEY = "num_items_in_window"


def count_targets(batch: dict[str, Any]) -> int:
    """Real targets of a batch: `num_tokens` where the loader says it, else the labels that are not -100.

    Raises:
        SchemaError: it has neither.
    """
    planned = batch.get("num_tokens")
    if isinstance(planned, int):
        return planned
    labels = batch.get("labels")
    if not isinstance(labels, torch.Tensor):
        raise SchemaError(f"the batch has neither 'num_tokens' nor 'labels' to count; it has {sorted(batch)}")
    return int((labels != -100).sum())


class WindowCounts:
    """Iterates a loader of mappings, and adds `num_items_in_window`, an int, to each batch.

    Reads the batches of a window before the first of them is given out, so keep them on the CPU and move each just
    before its use. With several ranks one number is exchanged per window: all ranks must have equally many batches.
    """

    def __init__(
        self,
        loader: Iterable[dict[str, Any]],
        accumulate: int,
        *,
        count: Callable[[dict[str, Any]], int] = count_targets,
    ) -> None:
        """
        Args:
            loader: gives mappings.
            accumulate: batches in a window; the last window of an epoch may hold fewer.
            count: real targets of a batch.

        Raises:
            SpecError: `accumulate` is not positive.
        """
        if accumulate < 1:
            raise SpecError(f"WindowCounts has accumulate={accumulate}, expected 1 or more batches per update")
        self.loader = loader
        self.accumulate = accumulate
        self._count = count
        self._state = DeliveredState(loader)

    def __len__(self) -> int:
        length: int = len(self.loader)  # type: ignore[arg-type]  # one without a length raises TypeError, as it should
        return length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        window: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
        self._state.clear()
        for batch in self.loader:
            window.append((batch, self._state.after_fetch()))
            if len(window) == self.accumulate:
                yield from self._counted(window)
                window = []
        if window:
            yield from self._counted(window)
        self._state.clear()

    def _counted(self, window: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> Iterator[dict[str, Any]]:
        total = sum_over_ranks(sum(self._count(batch) for batch, _ in window))
        for batch, after in window:
            self._state.deliver(after)
            yield {**batch, KEY: total}

    def state_dict(self) -> dict[str, Any]:
        """The loader's state after the batch that was last given out. Save between windows.

        Raises:
            SpecError: the loader has no state.
        """
        return self._state.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the loader back. Takes effect at the next `iter()`.

        Raises:
            SpecError: the loader has no state.
        """
        self._state.load_state_dict(state_dict)


def sum_over_ranks(value: int) -> int:
    """The sum over the default process group; the value itself where there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    shared = torch.tensor(value, dtype=torch.int64, device=device)
    dist.all_reduce(shared)
    return int(shared)
