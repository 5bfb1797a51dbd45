"""Lists of small arrays travel as one leaf, and nobody can tell: values, types and identity are as behind torch's queues."""

import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import torch_sets
from support.same import same
from torch.utils.data import DataLoader as Stock

import forebay as fb
from forebay.loaders.arena import Arena
from forebay.loaders.array_lists import ArrayList, with_array_lists
from forebay.loaders.leases import Leases
from forebay.loaders.packing import Packer
from forebay.loaders.slot_claims import SlotClaims
from forebay.loaders.slot_writer import SlotWriter
from forebay.loaders.unpacking import unpack

ONE = np.arange(300, dtype=np.float32)
TYPES = [np.float32, np.float64, np.int8, np.uint16, np.int64, np.bool_, np.complex64, np.complex128, np.float16]


def sent(data: Any) -> Any:
    """What arrives of a batch."""
    return unpack(bytearray(Packer(None).pack((0, data, None))), None)[1]


def joined(data: Any) -> bool:
    """Whether any list of a batch became one leaf."""
    return b"arrays_from" in Packer(None).pack((0, data, None))


def arrays(count: int) -> list[Any]:
    return [np.full(at % 7, at, np.int32) for at in range(count)]


@st.composite
def lists_of_arrays(draw: st.DrawFn) -> Any:
    dtype = draw(st.sampled_from(TYPES))
    shapes = st.one_of(st.tuples(st.integers(0, 40)), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
    found = draw(
        st.lists(
            hnp.arrays(dtype, shapes, elements={"allow_nan": False} if dtype().dtype.kind in "fc" else None), max_size=9
        )
    )
    return draw(st.sampled_from([list, tuple]))(found)


@settings(max_examples=200, deadline=None)
@given(
    data=st.recursive(
        lists_of_arrays(),
        lambda inner: st.one_of(
            st.tuples(inner, st.integers()), st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=4,
    )
)
def test_a_batch_arrives_as_pickle_would_give_it(data: Any) -> None:
    assert same(sent(data), pickle.loads(pickle.dumps(data)))


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("count", [4, 32, 1000])
def test_a_list_of_small_arrays_becomes_one_leaf(kind: Any, count: int) -> None:
    data = kind(arrays(count)), list(range(count))
    assert joined(data) and same(sent(data), data)


def test_arrays_have_memory_of_their_own_and_may_be_written_to() -> None:
    found = sent([*arrays(50)])
    assert not any(np.shares_memory(one, other) for one in found for other in found if one is not other)
    for one in found:
        one += 1
    assert same(found, [one + 1 for one in arrays(50)])


def same_twice() -> Any:
    shared = arrays(6)
    return [shared, shared]


UNUSUAL = {
    "the same array twice": [ONE, ONE, ONE + 1, ONE + 2],
    "the same array elsewhere": {"all": [ONE, ONE + 1, ONE + 2, ONE + 3], "first": ONE},
    "the same list twice": same_twice(),
    "few": arrays(3),
    "mixed types": [ONE, ONE + 1, ONE + 2, ONE.astype(np.int16)],
    "mixed with numbers": [*arrays(5), 3],
    "large": [np.zeros(5000, np.float32) for _ in range(5)],
    "strided": [np.arange(600)[::2] + at for at in range(4)] + [np.arange(9)[::-1]],
    "turned": [np.arange(6).reshape(2, 3).T + at for at in range(5)],
    "big endian": [(np.arange(5) + at).astype(">i4") for at in range(5)],
    "dates": [np.arange(5).astype("datetime64[s]") for _ in range(5)],
    "text": [np.array(["a", "bc"]) for _ in range(5)],
    "objects": [np.array([1, "a", None], object) for _ in range(5)],
    "records": [np.zeros(3, [("x", "i4"), ("y", "f8")]) for _ in range(5)],
    "long doubles": [np.arange(3, dtype=np.longdouble) for _ in range(5)],
    "an ordered dict": OrderedDict(a=arrays(5)),
    "a named tuple": torch_sets.Point(arrays(5), 1),
    "many lists": [arrays(5) for _ in range(100)],
    "tensors": [torch.arange(5), arrays(5)],
    "nothing": None,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_arrives_whole(name: str) -> None:
    data = UNUSUAL[name]
    assert same(sent(data), pickle.loads(pickle.dumps(data, 4)))


@pytest.mark.parametrize("name", [name for name in UNUSUAL if name != "tensors"])
def test_what_could_come_out_otherwise_is_left_to_pickle(name: str) -> None:
    assert with_array_lists(UNUSUAL[name]) is UNUSUAL[name] or not joined(UNUSUAL[name])


def test_what_was_the_same_object_is_the_same_object() -> None:
    first, second, *_ = sent(UNUSUAL["the same array twice"])
    assert first is second
    found = sent(UNUSUAL["the same array elsewhere"])
    assert found["first"] is found["all"][0]
    one, other = sent(UNUSUAL["the same list twice"])
    assert one is other


def test_no_batch_is_changed_by_being_sent() -> None:
    inner = arrays(5)
    data = {"a": inner, "b": [1, 2]}
    assert isinstance(with_array_lists(data)["a"], ArrayList)
    assert data["a"] is inner and same(inner, arrays(5))


def test_lists_that_a_frame_does_not_hold_travel_in_a_slot() -> None:
    arena = Arena.create(2, 1 << 22)
    assert arena is not None
    writer, leases = SlotWriter(arena, SlotClaims(arena, 0, workers=1, limit=1 << 22)), Leases(arena)
    data = [np.full(1000, at, np.int16) for at in range(600)]
    frame = Packer(writer, in_frame=1 << 16).pack((0, data, None))
    assert len(frame) < 1 << 15
    found = unpack(bytearray(frame), leases)[1]
    assert same(found, data) and not leases.out, "arrays have memory of their own: the slot is free"
    arena.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_loader_gives_what_torchs_gives(method: str) -> None:
    rows = torch_sets.Images(60, (5, 3), grow=True)
    options: dict[str, Any] = {"batch_size": 6, "num_workers": 2, "collate_fn": torch_sets.columns}
    assert same(list(fb.DataLoader(rows, multiprocessing_context=method, **options)), list(Stock(rows, **options)))
