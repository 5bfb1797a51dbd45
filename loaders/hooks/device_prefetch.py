"""Copy the next batch to the device, and transform it there, while the model works on this one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from forebay.loaders.hooks.delivered_state import DeliveredState
from forebay.loaders.hooks.tensor_tree import each_tensor, map_tensors
from forebay.loaders.stream import Mark, StreamBackend, streams_for


class DevicePrefetch:
    """Iterates a loader one batch ahead, through one side stream that lives as long as this object.

    For each batch: the side stream waits for the consumer (the memory it is given may still be read by earlier work),
    the copy and the transform are queued on it, and before the batch is given out the consumer waits for the side
    stream and each tensor is recorded on the consumer. A pinned source is held until its copy is done, so a loader that
    reuses its memory cannot overwrite it. On a CPU the same code runs without streams.

    `state_dict` is the loader's state after the batch that was last given out, not after the one read ahead.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        device: torch.device | str,
        *,
        transform: Callable[[Any], Any] | None = None,
        streams: StreamBackend | None = None,
    ) -> None:
        """
        Args:
            loader: give it pinned memory on CUDA (`pin_memory=True`): a copy from pageable memory makes the host wait.
            device: where batches go.
            transform: runs on the device's batch, such as a `DeviceTransform`.
            streams: by default those of the device.
        """
        self.loader = loader
        self.device = torch.device(device)
        self._transform = transform
        self._streams = streams or streams_for(self.device)
        self._side = self._streams.new_stream()
        self._held: deque[tuple[Mark, Any]] = deque()
        self._state = DeliveredState(loader)

    def __len__(self) -> int:
        length: int = len(self.loader)  # type: ignore[arg-type]  # a loader without a length raises TypeError, as it should
        return length

    def __iter__(self) -> Iterator[Any]:
        iterator = iter(self.loader)
        self._state.clear()
        ahead = self._begin(iterator)
        while ahead is not None:
            batch, after = ahead
            self._hand_over(batch)
            ahead = self._begin(iterator)
            self._state.deliver(after)
            yield batch
        # The epoch is over: the loader's own state says so.
        self._state.clear()
        self._held.clear()

    def _begin(self, iterator: Iterator[Any]) -> tuple[Any, dict[str, Any] | None] | None:
        """Fetch a batch and queue its copy. Returns it with the loader's state after it; None at the end."""
        try:
            source = next(iterator)
        except StopIteration:
            return None
        after = self._state.after_fetch()
        streams, side = self._streams, self._side
        streams.wait(side, streams.current())
        with streams.use(side):
            batch = map_tensors(source, self._copied)
            if self._transform is not None:
                batch = self._transform(batch)
            mark = streams.mark(side)
        while self._held and self._held[0][0].query():
            self._held.popleft()
        self._held.append((mark, source))
        return batch, after

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _hand_over(self, batch: Any) -> None:
        consumer = self._streams.current()
        self._streams.wait(consumer, self._side)
        for tensor in each_tensor(batch):
            self._streams.record(tensor, consumer)

    def state_dict(self) -> dict[str, Any]:
        """The loader's state after the batch that was last given out.

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
