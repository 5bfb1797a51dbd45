"""A slot: columns on lines of their own, cut into batches without a copy."""

import numpy as np
import pytest
import torch

from forebay.loaders.ring import Ring
from forebay.loaders.slot import Layout, Slot, padded, row_bytes, slot_bytes
from forebay.transforms.stage import TensorSpec

FLOATS = TensorSpec((3,), np.dtype(np.float32))
WORDS = TensorSpec((), np.dtype(np.int64))


def filled(rows: int) -> Slot:
    slot = Ring().take(slot_bytes(rows, [FLOATS, WORDS]))
    arrays = slot.lay(Layout.of(rows, {"x": FLOATS, "n": WORDS}))
    arrays["x"][:], arrays["n"][:] = np.arange(3 * rows).reshape(rows, 3), np.arange(rows)
    return slot


def test_columns_lie_apart_on_cache_lines_whether_they_come_together_or_one_by_one() -> None:
    layout = Layout.of(5, {"x": FLOATS, "n": WORDS})
    assert [one.at for one in layout.columns] == [0, 64] and layout.nbytes == slot_bytes(5, [FLOATS, WORDS]) == 128
    slot = Ring().take(256)
    slot.lay(layout)
    assert slot.used == 128
    more = slot.column(("more", 1), 5, WORDS)
    assert slot.used == 192 and more.ctypes.data % 64 == 0 and more.shape == (5,)


@pytest.mark.parametrize("sizes", [[6], [3, 3], [2, 2, 2], [4, 2], [1, 5]])
@pytest.mark.parametrize("copied", [False, True])
def test_batches_are_what_was_written(sizes: list[int], copied: bool) -> None:
    slot = filled(6)
    copy = slot.whole[: slot.used].clone() if copied else None
    found = slot.batches(sizes, copy)
    assert [len(one) for one in found["n"]] == sizes
    assert torch.cat(tuple(found["n"])).tolist() == list(range(6))
    assert torch.cat(tuple(found["x"])).tolist() == np.arange(18.0).reshape(6, 3).tolist()
    assert all(one.is_contiguous() and one.dtype == torch.float32 for one in found["x"])
    first = found["x"][0].data_ptr()
    assert first == (slot.whole.data_ptr() if copy is None else copy.data_ptr())


def test_columns_of_one_batch_are_given_by_themselves() -> None:
    slot = Ring().take(1024)
    slot.column(("n", 2), 5, WORDS)[:] = np.arange(5)
    assert slot.batches([5]) == {} and slot.singles()["n", 2].tolist() == [0, 1, 2, 3, 4]
    assert slot.singles(slot.whole.clone())["n", 2].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "uint32", "uint64", "float16", "float64"])
@pytest.mark.parametrize("copied", [False, True])
def test_every_type_of_a_column_has_a_tensor(dtype: str, copied: bool) -> None:
    slot = Ring().take(1024)
    slot.lay(Layout.of(4, {"x": TensorSpec((2,), np.dtype(dtype))}))["x"][:] = 1
    (found,) = slot.batches([4], slot.whole.clone() if copied else None)["x"]
    assert found.numpy().dtype == np.dtype(dtype) and found.shape == (4, 2) and (found.numpy() == 1).all()


def test_sizes_are_whole_lines() -> None:
    assert row_bytes(FLOATS) == 12 and row_bytes(WORDS) == 8
    assert [padded(size) for size in (0, 1, 64, 65)] == [0, 64, 64, 128]
