"""Any torch data set: the same batches, order, use of generators, errors, warnings and attributes as torch's own loader."""

import copy
import pickle
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.data
from support import torch_sets
from support.same import same
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, WeightedRandomSampler

import forebay as fb

STOCK = torch.utils.data.DataLoader
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning"),
]


def seed() -> None:
    torch.manual_seed(5)
    random.seed(6)
    np.random.seed(7)


def states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


SETTINGS: dict[str, Any] = {
    "plain": lambda data: {"batch_size": 4},
    "one by one": lambda data: {},
    "shuffled": lambda data: {"batch_size": 4, "shuffle": True},
    "shuffled by a generator": lambda data: {"batch_size": 5, "shuffle": True, "generator": generator()},
    "drop_last": lambda data: {"batch_size": 5, "shuffle": True, "drop_last": True},
    "sampler": lambda data: {"batch_size": 4, "sampler": SequentialSampler(range(7))},
    "with replacement": lambda data: {
        "batch_size": 4,
        "sampler": RandomSampler(data, replacement=True, num_samples=70, generator=generator()),
    },
    "several permutations": lambda data: {"batch_size": 4, "sampler": RandomSampler(data, num_samples=50)},
    "weighted": lambda data: {"batch_size": 4, "sampler": WeightedRandomSampler([1.0, 2.0, 5.0], 9)},
    "batch_sampler": lambda data: {"batch_sampler": BatchSampler(RandomSampler(data), 3, False)},
    "list as batch_sampler": lambda data: {"batch_sampler": [[1, 2], [0], [5, 6, 7]]},
    "no batches": lambda data: {"batch_size": None, "shuffle": True},
    "no batches, own convert": lambda data: {"batch_size": None, "collate_fn": torch_sets.keep},
    "custom collate": lambda data: {"batch_size": 3, "collate_fn": torch_sets.wrapped},
    "views": lambda data: {"batch_size": 2, "collate_fn": torch_sets.views},
}


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_batches_and_generators_are_torchs(name: str, workers: int, persistent: bool) -> None:
    if persistent and not workers:
        pytest.skip("torch refuses persistent workers where there are none")
    found = []
    for kind in (STOCK, fb.DataLoader):
        data = torch_sets.Numbers()
        seed()
        loader = kind(data, num_workers=workers, persistent_workers=persistent, **SETTINGS[name](data))
        seen: list[Any] = []
        for epoch in range(3):
            iterator = iter(loader)
            seen.append(states())
            for step, batch in enumerate(iterator):
                seen.append(copy.deepcopy(batch) if name != "views" else {**batch, "frozen": batch["frozen"].detach()})
                if epoch == 1 and step == 1:
                    break  # a loop that is left
            seen.append(states())
            del iterator
        found.append((seen, len(loader)))
    assert found[0][1] == found[1][1]
    assert same(found[0][0], found[1][0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "settings", [{}, {"batch_size": 2}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}]
)
def test_streams_are_torchs(settings: dict[str, Any], workers: int) -> None:
    found = []
    for kind in (STOCK, fb.DataLoader):
        seed()
        loader = kind(torch_sets.Stream(), num_workers=workers, **settings)
        found.append([list(loader), list(loader), states()])
    assert same(*found)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_start_methods(method: str) -> None:
    found = []
    for kind in (STOCK, fb.DataLoader):
        seed()
        loader = kind(torch_sets.Numbers(9), 4, num_workers=2, multiprocessing_context=method, shuffle=True)
        found.append([list(loader), states()])
    assert same(*found)


@pytest.mark.parametrize("workers", [0, 2])
def test_whole_batches_by_getitems(workers: int) -> None:
    assert same(*[list(kind(torch_sets.Whole(), 4, num_workers=workers)) for kind in (STOCK, fb.DataLoader)])


def test_a_workers_copy_of_the_data_set_can_be_changed_in_its_init_function() -> None:
    for kind in (STOCK, fb.DataLoader):
        loader = kind(torch_sets.Stream(3), None, num_workers=1, worker_init_fn=torch_sets.no_seed)
        assert len(list(loader)) == 7


def test_without_order_each_row_comes_once() -> None:
    loader = fb.DataLoader(torch_sets.Images(40), 4, num_workers=3, in_order=False)
    assert sorted(row for _, labels in loader for row in labels.tolist()) == list(range(40))


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


def test_attributes_are_those_of_the_arguments() -> None:
    stock, ours = (
        kind([1, 2, 3], 2, shuffle=True, num_workers=1, prefetch_factor=3) for kind in (STOCK, fb.DataLoader)
    )
    assert isinstance(ours, STOCK) and set(vars(stock)) <= set(vars(ours))
    for name, value in vars(stock).items():
        if not hasattr(value, "__dict__"):
            assert getattr(ours, name) == value, name
        else:
            assert type(getattr(ours, name)) is type(value), name


def test_a_loader_can_be_pickled_and_copied_and_its_iterator_cannot() -> None:
    loader = fb.DataLoader(torch_sets.Images(6), 2, num_workers=1)
    list(loader)
    for again in (pickle.loads(pickle.dumps(loader)), copy.copy(loader)):
        assert same(list(again), list(loader))
    for workers in (0, 1):
        with pytest.raises(NotImplementedError):
            pickle.dumps(iter(fb.DataLoader([1], num_workers=workers)))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_iterator_is_torchs(workers: int) -> None:
    loader = fb.DataLoader([1, 2, 3, 4], 2, num_workers=workers)
    iterator = iter(loader)
    kind = "_MultiProcessingDataLoaderIter" if workers else "_SingleProcessDataLoaderIter"
    assert isinstance(iterator, getattr(torch.utils.data.dataloader, kind))
    assert iter(iterator) is iterator and len(iterator) == 2
    with torch.profiler.profile() as profile:
        next(iterator)
    assert any(f"enumerate(DataLoader)#{kind}.__next__" in one.key for one in profile.key_averages())


def test_persistent_workers_keep_one_iterator() -> None:
    loader = fb.DataLoader(torch_sets.Images(8), 2, num_workers=2, persistent_workers=True)
    first = iter(loader)
    pids = [one.pid for one in first._workers]
    list(first)
    second = iter(loader)
    assert second is first and [one.pid for one in second._workers] == pids


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


def test_it_can_be_subscripted_in_annotations() -> None:
    assert fb.DataLoader[int].__args__ == (int,)
