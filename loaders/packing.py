"""How a worker sends a batch: its structure is pickled, its numbers lie in a slot.

A frame is what goes through the pipe:

    | head | places of out-of-band buffers | small leaves | pickle |

A leaf is a tensor, or the memory of anything that pickles out of band (NumPy arrays, Arrow buffers). Small leaves travel
in the frame: who keeps the labels of an epoch must not keep its images. Larger ones lie in the slot of the batch, mostly
because they were made there (`Packer.stack`). In the pickle stands where a leaf is; `unpacking` makes a tensor of it.
What has no such form (sparse, shared, requires_grad, subclasses) takes torch's own reducers, and so does the whole batch
when no slot is to be had.
"""

import copyreg
import ctypes
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from forebay.loaders.array_lists import ArrayList, with_array_lists
from forebay.loaders.leaves import (
    BUFFER,
    CODES,
    COPIED,
    PLACED,
    SMALL,
    SMALL_LEAF,
    Head,
    Segment,
    address_of,
    leaf,
    plain_strides,
)
from forebay.loaders.shared_room import check_shm
from forebay.loaders.slot_writer import SlotWriter
from forebay.loaders.stacking import stack_into

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _NoSlot(Exception):
    """The batch needs a slot and there is none, or its tensors overlap in a way that only torch's way keeps."""


@dataclass(slots=True)
class Packer:
    """Makes frames of what a worker sends."""

    slots: SlotWriter | None
    """None: all batches take torch's own way."""
    in_frame: int = 1 << 15
    """Bytes of small leaves, and of the pickle, that a frame may carry: two such frames fit a pipe."""
    placed: dict[int, int] = field(default_factory=dict)
    """Address -> offset in the slot, of leaves that were made there for this batch."""

    def begin(self) -> None:
        """A new batch begins."""
        self.placed.clear()
        if self.slots is not None:
            self.slots.begin()

    def stack(self, batch: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """A batch, stacked in its slot; None when it is small or no slot has room.

        Raises:
            RuntimeError: they cannot be stacked into one of the first one's type.
        """
        first = batch[0]
        nbytes = first.nbytes * len(batch)
        if self.slots is None or nbytes < SMALL_LEAF or first.dtype not in CODES:
            return None
        memory = self.slots.allocate(nbytes)
        if memory is None:
            return None
        flat = torch.frombuffer(memory, dtype=first.dtype, count=first.numel() * len(batch))
        made = flat.view(len(batch), *first.shape)
        if not stack_into(self.slots, memory, made, batch):
            return None
        self.placed[made.data_ptr()] = self.slots.offset_of(memory)
        return made

    def pack(self, message: Any) -> bytes:
        """The frame of a message; what it holds of a slot now belongs to the reader."""
        if type(message) is tuple:
            task, data, note = message
            message = task, with_array_lists(data), note
        if self.slots is not None:
            try:
                return _Packing(self, self.slots).frame(message)
            except _NoSlot:
                pass
        return _Packing(self, None).frame(message)


class _Packing:
    """One message on its way; with `slots` None, on torch's way."""

    def __init__(self, packer: Packer, slots: SlotWriter | None) -> None:
        self._placed, self._in_frame = packer.placed, packer.in_frame
        self._slots = slots
        self._segments = Segment(), Segment()
        self._buffers: list[bytes] = []
        self._seen: dict[int, tuple[tuple[Any, ...], Any]] = {}
        self._handed_over = False
        self._raw: list[memoryview] = []

    def frame(self, message: Any) -> bytes:
        out = io.BytesIO()
        pickler = pickle.Pickler(out, 5, buffer_callback=self._buffer)
        mine: dict[type, Callable[..., Any]] = {} if self._slots is None else {torch.Tensor: self._tensor}
        mine[np.ndarray] = _array
        mine[ArrayList] = self._arrays
        pickler.dispatch_table = {**copyreg.dispatch_table, **_forking_reducers(), **mine}
        pickler.dump(message)
        head, pickled = Head(buffers=len(self._buffers)), out.getvalue()
        kept = self._fill_slot(head, pickled)
        parts = [head.packed(), *self._buffers]
        if head.small:
            parts.append(self._segments[SMALL].joined())
        if head.pickle_at < 0:
            parts.append(pickled)
        del kept
        return b"".join(parts)

    def _fill_slot(self, head: Head, pickled: bytes) -> list[Any]:
        """Copy what belongs into the slot, and hand it over. Returns the memory, to be kept until then."""
        small, copied = self._segments
        if self._slots is None:
            head.small = small.size
            return []
        kept = []
        if copied.size:
            memory, head.copied_at = self._allocate(copied.size)
            self._write(memory, copied.parts)
            kept.append(memory)
        if small.size > self._in_frame:
            memory, head.small_at = self._allocate(small.size)
            self._write(memory, [small.joined()])
            kept.append(memory)
        else:
            head.small = small.size
        if len(pickled) > self._in_frame:
            memory, head.pickle_at = self._allocate(len(pickled))
            head.pickle_bytes = len(pickled)
            self._write(memory, [pickled])
            kept.append(memory)
        if kept or self._handed_over:
            head.slot, head.capacity = self._slots.send()
        return kept

    def _allocate(self, nbytes: int) -> "tuple[ctypes.Array[ctypes.c_char], int]":
        memory = self._slots.allocate(nbytes) if self._slots is not None else None
        if memory is None or self._slots is None:
            raise _NoSlot
        return memory, self._slots.offset_of(memory)

    def _write(self, memory: "ctypes.Array[ctypes.c_char]", pieces: list[Any]) -> None:
        if self._slots is None or not self._slots.write(memory, 0, pieces):
            raise _NoSlot

    def _tensor(self, tensor: torch.Tensor) -> Any:
        code, nbytes = CODES.get(tensor.dtype), tensor.nbytes
        strides = plain_strides(tensor) if code is not None and nbytes else False
        if strides is False:
            if tensor.is_cpu and not tensor.untyped_storage().is_shared():
                check_shm(nbytes)
            return _forking_reducers()[torch.Tensor](tensor)
        view = tensor.data_ptr(), nbytes
        storage = tensor.untyped_storage().data_ptr()
        if storage not in self._seen:
            self._seen[storage] = view, self._put(*view)
        seen, where = self._seen[storage]
        if seen != view:
            raise _NoSlot  # two different views of the same memory: torch's way keeps them that
        return leaf, (*where, code, tuple(tensor.shape), strides)

    def _put(self, address: int, nbytes: int) -> tuple[int, int]:
        if address in self._placed:
            self._handed_over = True
            return PLACED, self._placed[address]
        if nbytes < SMALL_LEAF or self._slots is None:
            return SMALL, self._segments[SMALL].add((ctypes.string_at(address, nbytes),), nbytes)
        where = (ctypes.c_char * nbytes).from_address(address)  # the message keeps it alive
        return COPIED, self._segments[COPIED].add((where,), nbytes)

    def _arrays(self, arrays: ArrayList) -> Any:
        return arrays.leaf(self._segments[SMALL])

    def _buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """Whether a buffer is to stay in the pickle: small ones take less time there than places of their own."""
        raw = buffer.raw()
        if raw.nbytes < SMALL_LEAF:
            return True
        self._raw.append(raw)
        self._buffers.append(BUFFER.pack(*self._put(address_of(raw), raw.nbytes), raw.nbytes))
        return False


def _array(array: "NDArray[Any]") -> Any:
    """Small arrays as torch's queues pickle them, which is read faster than a buffer of its own for each."""
    return array.__reduce__() if array.nbytes < SMALL_LEAF else array.__reduce_ex__(5)


def _forking_reducers() -> dict[type, Callable[..., Any]]:
    """What torch.multiprocessing has registered for its queues."""
    found: dict[type, Callable[..., Any]] = vars(ForkingPickler)["_extra_reducers"]
    return found
