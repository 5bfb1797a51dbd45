"""Delivery to a device: chunks of batches are copied on a stream of their own, one ahead of the model."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch

from forebay.formats.errors import SpecError
from forebay.loaders.filled import Batch, Filled
from forebay.loaders.stream import Mark, StreamBackend, streams_for

_MOST_HELD = 4
"""Chunks whose copies may be under way: further ones wait, so that a host far ahead of the device does not fill its memory."""


class DeviceDelivery:
    """A feed's `Deliver` (see `Feed`) that copies each slot in one go.

    For each chunk, in this order: the side stream waits for the consumer, the copy is queued on it, a mark behind it; when
    the chunk's first batch is due the consumer waits for the side stream, the copy is recorded on the consumer, and only then
    the next chunk's copy is queued, so that it runs beside what the consumer does with this one. The chunk's slots are given
    back when its mark has passed, never before.
    """

    def __init__(self, device: torch.device | str, *, streams: StreamBackend | None = None) -> None:
        self.device = torch.device(device)
        self._streams = streams or streams_for(self.device)
        self._side: Any = None
        self._held: deque[tuple[Mark, Filled, Callable[[Filled], None]]] = deque()

    def __call__(
        self, chunks: Iterator[tuple[Filled, list[int]]], release: Callable[[Filled], None]
    ) -> Iterator[tuple[list[Batch], list[int]]]:
        if self._side is None:
            self._side = self._streams.new_stream()
        ahead: tuple[list[Batch], list[torch.Tensor], list[int]] | None = None
        for filled, untils in chunks:
            # handed over before the next copy is queued: the consumer would wait for that one, too, and the copy for the consumer
            due = None if ahead is None else self._hand_over(*ahead)
            ahead = (*self._begin(filled, release), untils)
            if due is not None:
                yield due
        if ahead is not None:
            yield self._hand_over(*ahead)

    def _begin(self, filled: Filled, release: Callable[[Filled], None]) -> tuple[list[Batch], list[torch.Tensor]]:
        """Queue the copies of a chunk. Returns its batches, and what was allocated for them."""
        copies: list[torch.Tensor] = []

        def copied(whole: torch.Tensor) -> torch.Tensor:
            copies.append(torch.empty(whole.shape, dtype=whole.dtype, device=self.device))
            return copies[-1].copy_(whole, non_blocking=True)

        streams = self._streams
        # memory that the allocator hands out on the side stream may still be read by what the consumer has queued
        streams.wait(self._side, streams.current())
        with streams.use(self._side):
            batches = filled.batches(copied)
            mark = streams.mark(self._side)
        self._held.append((mark, filled, release))
        self._let_go()
        return batches, copies

    def _hand_over(
        self, batches: list[Batch], copies: list[torch.Tensor], untils: list[int]
    ) -> tuple[list[Batch], list[int]]:
        consumer = self._streams.current()
        self._streams.wait(consumer, self._side)
        for one in copies:
            self._streams.record(one, consumer)
        return batches, untils

    def _let_go(self) -> None:
        """Give back the slots whose copies are done."""
        while self._held and (len(self._held) > _MOST_HELD or self._held[0][0].query()):
            mark, filled, release = self._held.popleft()
            if not mark.query():
                mark.synchronize()
            release(filled)


def delivery_to(device: torch.device | str | None) -> DeviceDelivery | None:
    """Delivery for `to=`; None where batches stay on the host.

    Raises:
        SpecError: it is no device, or none that is here.
    """
    found = device_of(device)
    return None if found is None else DeviceDelivery(found)


def device_of(device: torch.device | str | None) -> torch.device | None:
    """The device that `to=` names, with its number; None for the host.

    Raises:
        SpecError: it is no device, or none that is here.
    """
    if device is None:
        return None
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SpecError(f"to is {device!r}; expected 'cuda', 'cuda:1' or a torch.device") from error
    if found.type == "cpu":
        return None
    if found.type != "cuda":
        raise SpecError(
            f"to is {str(found)!r}; batches can be sent to 'cuda' devices; leave to= out and copy them yourself"
        )
    if not torch.cuda.is_available():
        raise SpecError(
            f"to is {str(found)!r}, and torch {torch.__version__} sees no CUDA device here; leave to= out, or see "
            "what `forebay doctor` says of the GPU"
        )
    number = torch.cuda.current_device() if found.index is None else found.index
    if number >= torch.cuda.device_count():
        raise SpecError(f"to is {str(found)!r}, and there are {torch.cuda.device_count()} CUDA devices here")
    return torch.device("cuda", number)
