"""Without workers batches are those that torch's loader makes, whatever pages they lie in."""

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


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that the system was told of, of each tensor."""
    found: list[int] = []
    real = collate_here.advise

    def noted(start: int, nbytes: int, what: int) -> None:
        found.append(nbytes)
        real(start, nbytes, what)

    monkeypatch.setattr(collate_here, "advise", noted)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_batch_is_what_torch_makes(kind: str, advised: list[int]) -> None:
    rows = [of(row, kind) for row in range(8)]
    found, wanted = list(fb.DataLoader(rows, 4)), list(Stock(rows, 4))
    assert same(found, wanted)
    plain = kind in ("arrays", "tensors", "half", "nested")
    large = 4 * 3 * SIDE * SIDE * (2 if kind == "half" else 4)
    assert len(advised) == (2 if plain and large >= collate_here._LEAST else 0)
    assert all(large - 2 * 4096 <= one <= large for one in advised)


def test_it_is_torchs_own_memory() -> None:
    (batch,) = fb.DataLoader([of(row, "tensors") for row in range(4)], 4)
    assert batch.untyped_storage().resizable() and not batch.is_shared()
    batch.resize_(2 * batch.numel())


def test_samples_of_another_shape_are_refused_as_by_torch() -> None:
    rows = [torch.zeros(3, SIDE, SIDE), torch.zeros(3, SIDE, SIDE + 1), *torch.zeros(2, 3, SIDE, SIDE)]
    for kind in (Stock, fb.DataLoader):
        with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
            list(kind(rows, 4))


def test_users_collate_functions_are_left_alone(monkeypatch: pytest.MonkeyPatch, advised: list[int]) -> None:
    rows = [of(row, "tensors") for row in range(4)]
    loader = fb.DataLoader(rows, 4, collate_fn=lambda batch: default_collate(batch))
    assert same(list(loader), list(Stock(rows, 4))) and not advised
    assert fb.DataLoader(rows, 4).collate_fn is default_collate

    def doubled(batch: list[torch.Tensor], *, collate_fn_map: Any = None) -> torch.Tensor:
        return 2 * torch.stack(batch)

    monkeypatch.setitem(collate.default_collate_fn_map, torch.Tensor, doubled)
    assert same(list(fb.DataLoader(rows, 4)), list(Stock(rows, 4))) and not advised
