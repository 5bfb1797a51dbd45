"""Without workers batches are those that torch's loader makes, whatever memory they lie in."""

from typing import Any

import numpy as np
import pytest
import torch
from support.same import same
from torch.utils.data import DataLoader as Stock
from torch.utils.data import default_collate
from torch.utils.data._utils import collate

import forebay as fb
from forebay.loaders import collate_here
from forebay.loaders.spare_memory import SpareMemory

SIDE = 600


class Odd(torch.Tensor):
    """A tensor type of the user's own."""


def of(row: int, kind: str) -> Any:
    whole = torch.full((3, SIDE, SIDE), float(row))
    return {
        "arrays": whole.numpy(),
        "tensors": whole,
        "turned": whole.permute(2, 1, 0),
        "half": whole.half(),
        "mixed": whole.half() if row % 2 else whole,
        "graph": whole.clone().requires_grad_(),
        "own type": whole.as_subclass(Odd),
        "conjugated": torch.complex(whole, whole).conj(),
        "nested": {"image": whole, "size": (row, [str(row), np.float32(row)])},
    }[kind]


KINDS = ["arrays", "tensors", "turned", "half", "mixed", "graph", "own type", "conjugated", "nested"]


def addresses(loader: Any) -> list[int]:
    """Where the batches of a loop lie that keeps none but the last."""
    found = []
    for batch in loader:
        one = batch["image"] if isinstance(batch, dict) else batch
        found.append(one.data_ptr())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_batch_is_what_torch_makes(kind: str) -> None:
    rows = [of(row, kind) for row in range(8)]
    found, wanted = list(fb.DataLoader(rows, 4)), list(Stock(rows, 4))
    assert same(found, wanted)
    for one, other in zip(fb.DataLoader(rows, 2), Stock(rows, 2), strict=True):
        assert same(one, other)


@pytest.mark.parametrize("kind", ["arrays", "tensors", "nested"])
def test_a_large_batch_takes_the_memory_of_the_one_before_the_last(kind: str) -> None:
    found = addresses(fb.DataLoader([of(row, kind) for row in range(24)], 4))
    assert len(set(found)) == 2 and found == found[:2] * 3
    assert collate_here._LEAST <= 4 * 3 * SIDE * SIDE * 4


def test_memory_is_not_used_again_for_what_torch_stacks_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(SpareMemory, "keep", lambda self, made: taken.append(made))
    for kind in ("turned", "mixed", "graph", "own type", "conjugated"):
        list(fb.DataLoader([of(row, kind) for row in range(8)], 4))
    assert not taken


def test_batches_that_are_kept_do_not_change() -> None:
    rows = [of(row, "tensors") for row in range(32)]
    kept = {step: batch for step, batch in enumerate(fb.DataLoader(rows, 4)) if step % 3 == 0}
    parts = {step: batch[1, 0].numpy() for step, batch in enumerate(fb.DataLoader(rows, 4))}
    for step, batch in kept.items():
        assert torch.equal(batch, torch.stack(rows[4 * step : 4 * step + 4]))
    assert all(np.all(part == 4 * step + 1) for step, part in parts.items())


def test_it_is_torchs_own_memory() -> None:
    rows = [of(row % 4, "tensors") for row in range(16)]
    for batch in fb.DataLoader(rows, 4):
        assert batch.untyped_storage().resizable() and not batch.is_shared() and not batch.is_inference()
        assert batch._version == 0 and batch._base is None and batch.is_leaf and not batch.requires_grad
        assert batch.untyped_storage().nbytes() == batch.nbytes
        assert torch.equal(batch, torch.stack(rows[:4]))
        batch.resize_(2 * batch.numel())
    for batch in fb.DataLoader(rows, 4):
        assert not batch.is_shared() and torch.equal(batch, torch.stack(rows[:4]))
        batch.share_memory_()


def test_samples_of_another_shape_are_refused_as_by_torch() -> None:
    rows = [torch.zeros(3, SIDE, SIDE), torch.zeros(3, SIDE, SIDE + 1), *torch.zeros(2, 3, SIDE, SIDE)]
    for kind in (Stock, fb.DataLoader):
        with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
            list(kind(rows, 4))


def test_users_collate_functions_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(SpareMemory, "keep", lambda self, made: taken.append(made))
    rows = [of(row, "tensors") for row in range(4)]
    loader = fb.DataLoader(rows, 4, collate_fn=lambda batch: default_collate(batch))
    assert same(list(loader), list(Stock(rows, 4))) and not taken
    assert fb.DataLoader(rows, 4).collate_fn is default_collate

    def doubled(batch: list[torch.Tensor], *, collate_fn_map: Any = None) -> torch.Tensor:
        return 2 * torch.stack(batch)

    monkeypatch.setitem(collate.default_collate_fn_map, torch.Tensor, doubled)
    assert same(list(fb.DataLoader(rows, 4)), list(Stock(rows, 4))) and not taken
