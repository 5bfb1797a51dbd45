"""Any torch data set: the same batches, order, use of generators, errors, warnings and attributes as torch's own loader."""

import copy
import pickle
import random
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


# every two of settings, workers and persistence together, but not all three: each worker is a process
RUNS = [
    (name, workers, persistent)
    for at, name in enumerate(SETTINGS)
    for workers, persistent in ((0, False), (1, at % 2 == 0), (2, at % 2 == 1))
]


@pytest.mark.parametrize(("name", "workers", "persistent"), RUNS)
def test_batches_and_generators_are_torchs(name: str, workers: int, persistent: bool) -> None:
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
        loader = kind(torch_sets.Numbers(9), 4, num_workers=1, multiprocessing_context=method, shuffle=True)
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


def test_it_can_be_subscripted_in_annotations() -> None:
    assert fb.DataLoader[int].__args__ == (int,)
