"""The search finds the largest size, ranks agree, and other errors are not swallowed."""

import gc
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rank_steps import uneven_memory
from support.ranks import on_ranks

from forebay.formats.errors import LoaderError, SpecError
from forebay.loaders.hooks.batch_size_search import find_batch_size, is_out_of_memory


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> Iterator[None]:
    """Each failed attempt collects garbage, which takes tens of milliseconds in a process that has torch loaded."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@settings(max_examples=30)
@given(room=st.integers(1, 300), start=st.integers(1, 64), most=st.integers(64, 256))
def test_the_largest_size_that_fits_is_found(room: int, start: int, most: int) -> None:
    def attempt(size: int) -> None:
        assert size <= most
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert find_batch_size(attempt, start=start, most=most) == min(room, most)


def test_the_answer_is_a_multiple() -> None:
    def attempt(size: int) -> None:
        if size > 53:
            raise MemoryError

    assert find_batch_size(attempt, start=8, most=256, multiple_of=8) == 48


def test_ranks_agree_on_the_smallest_room() -> None:
    (first, tried), (second, tried_too) = on_ranks(2, uneven_memory)
    assert first == second == 24 and tried == tried_too


def test_a_real_host_allocation_that_fails_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_other_errors_are_raised_and_gradients_dropped() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight])

    def attempt(size: int) -> None:
        weight.sum().backward()
        if size > 4:
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        find_batch_size(attempt, start=4, most=64, optimizer=optimizer)
    assert find_batch_size(lambda size: weight.sum().backward(), start=4, most=4, optimizer=optimizer) == 4
    assert weight.grad is None


def test_when_nothing_fits_or_bounds_are_wrong_the_error_says_so() -> None:
    def attempt(size: int) -> None:
        raise torch.OutOfMemoryError("no")

    with pytest.raises(LoaderError, match="a batch of 2 does not fit"):
        find_batch_size(attempt, start=8, most=64, multiple_of=2)
    with pytest.raises(SpecError, match="start=8, most=4"):
        find_batch_size(attempt, start=8, most=4)
