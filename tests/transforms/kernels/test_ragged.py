"""Kernels for rows of varying length, against plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.transforms.kernels.ragged import budget_into, pack_into, pad_into

ROWS = st.lists(st.lists(st.integers(0, 250), max_size=8), max_size=7)


def flat(rows: list[list[int]], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for row in rows for one in row], dtype), np.cumsum([0, *map(len, rows)]).astype(np.int64)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@given(rows=ROWS, length=st.integers(0, 10), left=st.booleans())
def test_pad(dtype: str, rows: list[list[int]], length: int, left: bool) -> None:
    values, offsets = flat(rows, dtype)
    out = np.full((len(rows), length), 99, dtype)
    pad_into(values, offsets, np.array([7], dtype), left, out)
    fill = [[7] * max(0, length - len(row)) for row in rows]
    cut = [row[:length] for row in rows]
    assert out.tolist() == [f + c if left else c + f for f, c in zip(fill, cut, strict=True)]


@given(rows=ROWS)
def test_pack(rows: list[list[int]]) -> None:
    values, offsets = flat(rows, "int64")
    labels, positions, sequence = (np.empty(len(values), kind) for kind in ("int64", "int64", "int32"))
    pack_into(values, offsets, -100, labels, positions, sequence)
    assert labels.tolist() == [-100 if at == 0 else one for row in rows for at, one in enumerate(row)]
    assert positions.tolist() == [at for row in rows for at in range(len(row))]
    assert sequence.tolist() == [number for number, row in enumerate(rows) for _ in row]


def cut(lengths: list[int], budget: int, padded: bool, most: int) -> list[int]:
    """Ends of batches, greedily."""
    ends, start = [], 0
    for at in range(len(lengths)):
        batch = lengths[start : at + 1]
        cost = max(batch) * len(batch) if padded else sum(batch)
        if at > start and (cost > budget or len(batch) > most):
            ends.append(at)
            start = at
    return [*ends, len(lengths)] if lengths else []


@given(
    lengths=st.lists(st.integers(0, 50), max_size=40),
    budget=st.integers(1, 300),
    padded=st.booleans(),
    most=st.integers(1, 12),
)
def test_budget(lengths: list[int], budget: int, padded: bool, most: int) -> None:
    lengths = sorted(lengths)
    ends, made = np.zeros(len(lengths), np.int64), np.zeros(1, np.int64)
    budget_into(np.array(lengths, np.int64), budget, padded, most, ends, made)
    assert ends[: made[0]].tolist() == cut(lengths, budget, padded, most)
