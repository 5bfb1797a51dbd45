"""Memory of a batch is used again when nobody holds it, and never before, nor when its holder made it something else."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from forebay.loaders import spare_memory
from forebay.loaders.spare_memory import SpareMemory

SHAPE = torch.Size((4, 5))


def kept() -> tuple[SpareMemory, torch.Tensor, int]:
    """A loop's memory, the tensor that the user has of it, and where that lies."""
    spare = SpareMemory()
    spare.begin()
    made = torch.zeros(SHAPE)
    spare.keep(made)
    spare.begin()
    return spare, made, made.data_ptr()


def test_memory_that_nobody_holds_is_used_again() -> None:
    spare, made, address = kept()
    assert spare.take(SHAPE, torch.float32) is None, "the user has it"
    del made
    found = spare.take(SHAPE, torch.float32)
    assert found is not None and found.data_ptr() == address
    assert spare.take(SHAPE, torch.float32) is None, "it is taken"


@pytest.mark.parametrize(("shape", "dtype"), [((4, 6), torch.float32), ((5, 4), torch.float32), ((4, 5), torch.int32)])
def test_only_for_the_same_shape_and_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    spare, made, _ = kept()
    del made
    assert spare.take(torch.Size(shape), dtype) is None


class Graph:
    """What holds a tensor for its gradient."""

    def __init__(self, batch: torch.Tensor) -> None:
        self.weight = torch.ones(5, requires_grad=True)
        self.loss = (batch * self.weight).sum()


HOLDERS: dict[str, Callable[[torch.Tensor], Any]] = {
    "the tensor": lambda batch: batch,
    "a row": lambda batch: batch[2],
    "a view of a view": lambda batch: batch.view(-1)[3:].unfold(0, 2, 2),
    "a detached tensor": lambda batch: batch.detach(),
    "its data": lambda batch: batch.data,
    "an array": lambda batch: batch.numpy(),
    "an array of a row": lambda batch: batch.numpy()[1][::2],
    "a memoryview": lambda batch: memoryview(batch.numpy()),
    "a tensor of its array": lambda batch: torch.from_numpy(batch.numpy()),
    "a tensor through dlpack": lambda batch: torch.from_dlpack(batch),
    "a dlpack capsule": lambda batch: torch.utils.dlpack.to_dlpack(batch),
    "its storage": lambda batch: batch.untyped_storage(),
    "its typed storage": lambda batch: batch._typed_storage(),
    "a tensor over its storage": lambda batch: torch.empty(0).set_(batch.untyped_storage()),
    "a weak reference to its storage": lambda batch: weakref.ref(batch.untyped_storage()),
    "a parameter": lambda batch: torch.nn.Parameter(batch),
    "an operator that waits for its gradient": Graph,
    "a closure": lambda batch: lambda: batch.sum(),
    "a dictionary": lambda batch: {"inputs": [batch]},
    "another type": lambda batch: batch.view(torch.int32),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_what_somebody_holds_is_left_alone_until_it_is_gone(name: str) -> None:
    spare, made, address = kept()
    holder = HOLDERS[name](made)
    del made
    assert spare.take(SHAPE, torch.float32) is None
    del holder
    gc.collect()
    found = spare.take(SHAPE, torch.float32)
    if "array" in name or name == "a memoryview":
        assert found is None  # torch has made the storage one that cannot be resized, which a new batch must not have
    else:
        assert found is not None and found.data_ptr() == address


def test_what_another_thread_holds_is_left_alone() -> None:
    spare, made, _ = kept()
    go = threading.Event()
    other = threading.Thread(target=lambda batch: (go.wait(10), batch.sum()), args=(made,))
    other.start()
    del made
    assert spare.take(SHAPE, torch.float32) is None
    go.set()
    other.join()
    del other
    assert spare.take(SHAPE, torch.float32) is not None


def mark(batch: torch.Tensor) -> None:
    batch.untyped_storage().seen = True  # type: ignore[attr-defined]


CHANGES: dict[str, Callable[[torch.Tensor], Any]] = {
    "shared": lambda batch: batch.share_memory_(),
    "larger": lambda batch: batch.resize_(100),
    "emptied": lambda batch: batch.untyped_storage().resize_(0),
    "marked": mark,
}


@pytest.mark.parametrize("name", CHANGES)
def test_memory_that_its_holder_made_something_else_is_let_go(name: str) -> None:
    spare, made, _ = kept()
    CHANGES[name](made)
    del made
    assert spare.take(SHAPE, torch.float32) is None


def test_tensors_of_inference_are_made_for_inference_only() -> None:
    spare = SpareMemory()
    with torch.inference_mode():
        spare.keep(torch.zeros(SHAPE))
        spare.begin()
    assert spare.take(SHAPE, torch.float32) is None
    with torch.inference_mode():
        assert spare.take(SHAPE, torch.float32) is not None


def test_the_memory_of_two_batches_is_kept_at_most() -> None:
    spare = SpareMemory()
    gone: list[bool] = []
    for _ in range(6):
        spare.begin()
        made = torch.zeros(SHAPE)
        spare.keep(made)
        array = made.numpy()
        weakref.finalize(array, gone.append, True)
        del made, array
    assert sum(len(one) for one in (spare._older, spare._last, spare._now)) == 3  # with the one that is being made
    spare.clear()
    assert spare.take(SHAPE, torch.float32) is None


def test_without_torchs_counts_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    spare_memory._alone.cache_clear()
    monkeypatch.setattr(torch._C, "_storage_Use_Count", lambda address: 1)
    spare, made, _ = kept()
    del made
    assert spare.take(SHAPE, torch.float32) is None
    monkeypatch.undo()
    spare_memory._alone.cache_clear()


def test_arrays_of_numpy_see_no_change_in_a_loop() -> None:
    spare, kept_arrays = SpareMemory(), []
    for step in range(20):
        spare.begin()
        room = spare.take(SHAPE, torch.float32)
        made = torch.full(SHAPE, float(step)) if room is None else room.fill_(step).data
        spare.keep(made)
        if step % 3 == 0:
            kept_arrays.append((step, made.numpy()))
        del made, room
    assert all(np.all(array == step) for step, array in kept_arrays)
