"""What torch's loader refuses, warns of and fails with, any data set's loader does, in the same words."""

import warnings
from typing import Any

import pytest
import torch
import torch.utils.data
from support import torch_sets

import forebay as fb

STOCK = torch.utils.data.DataLoader

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning"),
]


def outcome(action: Any) -> Any:
    try:
        return action()
    except BaseException as error:  # noqa: BLE001  # the point is which it is
        return type(error), str(error)


WRONG: dict[str, dict[str, Any]] = {
    "workers": {"num_workers": -1},
    "timeout": {"timeout": -1},
    "prefetch without workers": {"prefetch_factor": 2},
    "prefetch": {"num_workers": 1, "prefetch_factor": -1},
    "persistent without workers": {"persistent_workers": True},
    "sampler and shuffle": {"sampler": [1, 2], "shuffle": True},
    "batch_sampler and batch_size": {"batch_sampler": [[1]], "batch_size": 2},
    "batch_sampler and shuffle": {"batch_sampler": [[1]], "shuffle": True},
    "no batches and drop_last": {"batch_size": None, "drop_last": True},
    "batch_size 0": {"batch_size": 0},
    "batch_size of bool": {"batch_size": True},
    "drop_last": {"drop_last": 3},
    "context without workers": {"multiprocessing_context": "fork"},
    "no such context": {"num_workers": 1, "multiprocessing_context": "thread"},
    "context of a wrong type": {"num_workers": 1, "multiprocessing_context": 5},
    "unknown argument": {"wurst": 1},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_in_torchs_words(name: str) -> None:
    found = [outcome(lambda kind=kind: kind([1, 2, 3], **WRONG[name])) for kind in (STOCK, fb.DataLoader)]
    assert found[0] == found[1] and issubclass(found[0][0], Exception)


@pytest.mark.parametrize("option", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}])
def test_what_a_stream_does_not_take(option: dict[str, Any]) -> None:
    found = [outcome(lambda kind=kind: kind(torch_sets.Stream(), **option)) for kind in (STOCK, fb.DataLoader)]
    assert found[0][0] is ValueError and found[0][1].replace("DataLoader", "") == found[1][1].replace("DataLoader", "")


def test_an_empty_data_set() -> None:
    for settings in ({}, {"shuffle": True}):
        assert outcome(lambda s=settings: list(STOCK([], **s))) == outcome(
            lambda s=settings: list(fb.DataLoader([], **s))
        )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of torch: it is deleted half made
@pytest.mark.parametrize("settings", [{"num_workers": 1, "prefetch_factor": 0}, {"timeout": 3}])
def test_what_torch_notices_only_when_it_is_iterated(settings: dict[str, Any]) -> None:
    found = [outcome(lambda kind=kind: iter(kind([1], **settings))) for kind in (STOCK, fb.DataLoader)]
    assert found[0][0] is found[1][0] is AssertionError


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["key", "value", "unmakeable", "stop"])
def test_an_error_of_a_row_has_torchs_type_and_text_and_the_loop_goes_on(kind: str, workers: int) -> None:
    found = []
    for loader_kind in (STOCK, fb.DataLoader):
        iterator = iter(loader_kind(torch_sets.Failing(kind), 2, num_workers=workers))
        seen = []
        for _ in range(8):
            result = outcome(lambda it=iterator: next(it).tolist())
            seen.append(result if isinstance(result, list) else (result[0], _shortened(result[1])))
        found.append(seen)
    assert found[0] == found[1]


def _shortened(text: str) -> str:
    """Without the traceback's lines, which name other files."""
    lines = text.replace("\\n", "\n").splitlines()
    return "\n".join(one for one in lines if not one.startswith(("  File", "    ")))


class _FailingOrder:
    """A sampler whose iterator fails once and would go on; or that has no iterator."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __iter__(self) -> Any:
        if self.at < 0:
            raise TypeError("no order")
        return self

    def __next__(self) -> int:
        self.at -= 1
        if self.at == 0:
            raise RuntimeError("no next index")
        return 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("at", [-1, 6])
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_order_that_fails_is_over(drop_last: bool, at: int, workers: int) -> None:
    found = []
    for kind in (STOCK, fb.DataLoader):
        loader = kind([1, 2, 3], 2, sampler=_FailingOrder(at), drop_last=drop_last, num_workers=workers)
        iterator = outcome(lambda one=loader: iter(one))
        seen = [_kind(iterator)] if isinstance(iterator, tuple) else []
        for _ in range(0 if seen else 6):
            result = outcome(lambda it=iterator: next(it).tolist())
            seen.append(result if isinstance(result, list) else result[0])
        found.append(seen)
    assert found[0] == found[1] and {TypeError, RuntimeError} & set(map(_hashable, found[0]))


def _hashable(one: Any) -> Any:
    return tuple(one) if isinstance(one, list) else one


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_fails_is_over(workers: int) -> None:
    found = []
    for kind in (STOCK, fb.DataLoader):
        iterator = iter(kind(_Failing(), None, num_workers=workers))
        found.append([_kind(outcome(lambda it=iterator: next(it))) for _ in range(4)])
    assert found[0] == found[1] and ValueError in found[0]


class _Failing(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield 1
        raise ValueError("over")


def _kind(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def test_an_error_of_the_start_comes_with_the_workers_first_batch() -> None:
    for kind in (STOCK, fb.DataLoader):
        iterator = iter(kind([1, 2, 3], num_workers=1, worker_init_fn=torch_sets.failing_start))
        with pytest.raises(RuntimeError, match="worker 0 does not start"):
            next(iterator)


@pytest.mark.parametrize("said", [2, 50])
def test_the_warning_about_a_wrong_length(said: int) -> None:
    found = []
    for kind in (STOCK, fb.DataLoader):
        loader = kind(torch_sets.Sized(6, said), batch_size=1, num_workers=0)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            length = len(loader)
            list(loader)
        found.append((length, [(one.category, str(one.message).split("(")[0][:60]) for one in heard]))
    assert found[0] == found[1] and bool(found[0][1]) == (said == 2)


def test_a_length_that_there_is_not() -> None:
    assert outcome(lambda: len(STOCK(torch_sets.Stream()))) == outcome(lambda: len(fb.DataLoader(torch_sets.Stream())))


@pytest.mark.parametrize(
    "name",
    ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers", "num_workers", "collate_fn",
     "pin_memory", "timeout", "worker_init_fn", "generator", "prefetch_factor", "in_order", "multiprocessing_context"],
)  # fmt: skip
def test_what_may_be_set_afterwards(name: str) -> None:
    found = []
    for kind in (STOCK, fb.DataLoader):
        loader = kind([1, 2, 3], num_workers=1)
        result = outcome(lambda one=loader: setattr(one, name, None))
        found.append(str(result).replace("torch.utils.data.dataloader.", "").replace("forebay.loaders.dataloader.", ""))
    assert found[0] == found[1]


def test_a_worker_that_dies_is_told_in_torchs_words() -> None:
    loader = fb.DataLoader(torch_sets.Failing("die"), 2, num_workers=2)
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid.*(exited unexpectedly|is killed by signal)"):
        list(loader)


def test_a_worker_that_takes_too_long_is_told_in_torchs_words() -> None:
    iterator = iter(fb.DataLoader(torch_sets.Failing("sleep", at=0), 2, num_workers=1, timeout=1))
    with pytest.raises(RuntimeError, match="DataLoader timed out after 1 seconds"):
        next(iterator)


def test_later_arguments_of_torchs_are_passed_on() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'of_a_later_version'"):
        fb.DataLoader([1], of_a_later_version=True)
