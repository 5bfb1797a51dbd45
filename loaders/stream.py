"""Streams of work on a device, as much of them as a loader needs.

`CudaStreams` drives a CUDA (or XPU) device, `CpuStreams` does nothing on a machine without one, and the tests have a
recording fake, so the order of the operations is proved where no GPU is. The order that every copy must keep:

    side waits for the consumer    (memory that the allocator hands out may still be read by earlier work)
    copy on side
    the consumer waits for side    (the batch is whole before the model reads it)
    record the batch on consumer   (its memory is not handed out while the model may read it)
"""

from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch


class Mark(Protocol):
    """A point in a stream's work: `torch.cuda.Event`, or the one of a device that is always done."""

    def query(self) -> bool:
        """True when all work queued before the mark is done. Never waits."""

    def synchronize(self) -> None:
        """Wait on the host until it is."""


class StreamBackend(Protocol):
    """Operations on the streams of one device. A stream is opaque to the caller."""

    def new_stream(self) -> Any:
        """A new side stream. Make one for the life of a loader: the allocator keeps a pool of memory for each."""

    def current(self) -> Any:
        """The stream on which the caller's own work is queued now: the consumer."""

    def use(self, stream: Any) -> AbstractContextManager[Any]:
        """Queue the work inside the `with` on `stream`."""

    def wait(self, waiter: Any, awaited: Any) -> None:
        """Work queued on `waiter` from now on starts after all work queued on `awaited` so far. The host goes on."""

    def record(self, tensor: torch.Tensor, stream: Any) -> None:
        """Keep the memory of `tensor` until the work queued on `stream` so far is done, even if the tensor dies."""

    def mark(self, stream: Any) -> Mark:
        """A mark after all work queued on `stream` so far: when it has passed, a pinned source may be rewritten."""

    def idle(self) -> bool:
        """True when the current stream has no work left: a wait that begins now leaves the device without work."""


class _Passed:
    """The mark of a device whose work is done when the call returns."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        return None


class CpuStreams:
    """No streams: work on a CPU tensor is done when the call returns."""

    def new_stream(self) -> Hashable:
        return "side"

    def current(self) -> Hashable:
        return "consumer"

    def use(self, stream: Any) -> AbstractContextManager[Any]:
        return nullcontext()

    def wait(self, waiter: Any, awaited: Any) -> None:
        return None

    def record(self, tensor: torch.Tensor, stream: Any) -> None:
        return None

    def mark(self, stream: Any) -> Mark:
        return _Passed()

    def idle(self) -> bool:
        return True


class CudaStreams:
    """Streams of one accelerator, through its torch module (`torch.cuda`, `torch.xpu`)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._module: Any = torch.get_device_module(device)

    def new_stream(self) -> Any:
        return self._module.Stream(device=self.device)

    def current(self) -> Any:
        return self._module.current_stream(self.device)

    def use(self, stream: Any) -> AbstractContextManager[Any]:
        used: AbstractContextManager[Any] = self._module.stream(stream)
        return used

    def wait(self, waiter: Any, awaited: Any) -> None:
        waiter.wait_stream(awaited)

    def record(self, tensor: torch.Tensor, stream: Any) -> None:
        if tensor.device.type == self.device.type:
            tensor.record_stream(stream)

    def mark(self, stream: Any) -> Mark:
        event: Mark = stream.record_event()
        return event

    def idle(self) -> bool:
        return bool(self.current().query())


def streams_for(device: torch.device | str) -> StreamBackend:
    """The backend for a device: real streams for an accelerator, none for the CPU (and for `meta`)."""
    wanted = torch.device(device)
    if wanted.type in ("cuda", "xpu"):
        return CudaStreams(wanted)
    return CpuStreams()
