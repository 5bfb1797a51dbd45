"""A filled chunk is cut into batches: views of one memory, in the columns' order."""

import numpy as np
import pytest
import torch

from forebay.loaders.filled import Filled
from forebay.loaders.ring import Ring
from forebay.transforms.stage import TensorSpec

PAIRS, WORDS = TensorSpec((2,), np.dtype(np.float32)), TensorSpec((), np.dtype(np.int64))


def filled(sizes: list[int]) -> Filled:
    one, rows = Filled(sizes, ["n", "text", "x"]), sum(sizes)
    one.slots.append(Ring().take(4096))
    one.slots[0].column("x", rows, PAIRS)[:] = np.arange(2 * rows).reshape(rows, 2)
    one.slots[0].column("n", rows, WORDS)[:] = np.arange(rows)
    return one


@pytest.mark.parametrize("sizes", [[5], [2, 2, 2], [3, 3, 1], [1, 4, 2]])
@pytest.mark.parametrize("moved", [False, True])
def test_rows_are_cut_where_batches_end(sizes: list[int], moved: bool) -> None:
    batches = filled(sizes).batches(torch.clone if moved else None)
    assert [len(batch["n"]) for batch in batches] == sizes
    assert torch.cat([batch["n"] for batch in batches]).tolist() == list(range(sum(sizes)))
    assert all(batch["x"][:, 0].tolist() == [2 * row for row in batch["n"].tolist()] for batch in batches)
    assert all(list(batch) == ["n", "x"] for batch in batches)  # in the order of the names; what is nowhere is left out


def test_values_and_columns_of_single_batches_are_put_beside() -> None:
    one = filled([2, 1])
    one.values = [{"text": ["a", "b"], "longest": 3}, {"text": ["c"], "longest": 4}]
    one.slots.append(Ring().take(4096))
    for number, width in enumerate((3, 4)):
        one.slots[1].column(("tokens", number), one.sizes[number], TensorSpec((width,), np.dtype(np.int32)))[:] = number
    first, second = one.batches()
    assert list(first) == ["n", "text", "x", "tokens", "longest"]
    assert first["text"] == ["a", "b"] and second["longest"] == 4
    assert first["tokens"].shape == (2, 3) and second["tokens"].tolist() == [[1] * 4]


def test_only_what_is_used_is_moved() -> None:
    moved = []

    def move(whole: torch.Tensor) -> torch.Tensor:
        moved.append(len(whole))
        return whole.clone()

    one = filled([4])
    one.batches(move)
    assert moved == [one.slots[0].used] and moved[0] < 4096
