"""deterministic=True: batches are a pure function of (seed, epoch, position), for any workers and ranks, and resume exactly."""

import json
import pickle
import random
import time

import numpy as np
import pytest
import torch
from support.drawing_samples import DrawingSamples, DrawingTogether, drawing_collate

import forebay as fb
from forebay.formats.errors import SpecError, StateError

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

ROWS, BATCH = 53, 4


def make(dataset=None, batch_size=BATCH, **options):
    dataset = DrawingSamples(ROWS) if dataset is None else dataset
    return fb.DataLoader(dataset, batch_size, **{"shuffle": True, "deterministic": True, "seed": 7, **options})


def rows_of(batches):
    """Sample by sample: index and the three numbers."""
    return [tuple(float(part[row]) for part in batch) for batch in batches for row in range(len(batch[0]))]


@pytest.fixture(scope="module")
def epochs():
    loader = make()
    return [list(loader) for _ in range(3)]


def same(left, right):
    return rows_of(left) == rows_of(right)


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}, {"prefetch_factor": 5}])
@pytest.mark.parametrize("workers", [1, 3])
def test_samples_are_the_same_for_any_workers_and_prefetching(workers, options, epochs) -> None:
    loader = make(num_workers=workers, **options)
    assert all(same(list(loader), expected) for expected in epochs[:2])


def test_an_epoch_has_each_sample_once_and_epochs_differ(epochs) -> None:
    for epoch in epochs:
        assert sorted(row[0] for row in rows_of(epoch)) == list(range(ROWS))
    assert rows_of(epochs[0]) != rows_of(epochs[1])
    numbers = [[row[1:] for row in sorted(rows_of(epoch))] for epoch in epochs[:2]]
    assert not any(one == other for one, other in zip(*numbers, strict=True)), "augmentations are new in each epoch"


def test_without_shuffle_samples_come_as_they_lie() -> None:
    assert [row[0] for row in rows_of(make(shuffle=False))] == list(range(ROWS))


def test_another_seed_is_another_order_and_other_numbers(epochs) -> None:
    other = rows_of(make(seed=8))
    assert other != rows_of(epochs[0])
    assert not {row[1] for row in other} & {row[1] for row in rows_of(epochs[0])}


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_have_the_samples_of_one_process(world, epochs) -> None:
    ranks = [list(make(rank=rank, world_size=world, num_workers=rank % 2)) for rank in range(world)]
    assert {len(one) for one in ranks} == {len(make(rank=0, world_size=world))}
    whole = make(batch_size=BATCH * world)
    for step, together in enumerate(whole):
        assert rows_of([together]) == rows_of([one[step] for one in ranks])


def test_drop_last_leaves_out_the_last_global_batch(epochs) -> None:
    loader = make(drop_last=True)
    assert (len(loader), rows_of(loader)) == (13, rows_of(epochs[0])[:52])
    assert rows_of(loader)[:4] == rows_of(epochs[1])[:4]


def test_a_rank_without_a_share_of_the_last_batch_repeats_a_sample() -> None:
    found = [list(make(DrawingSamples(5), 2, rank=rank, world_size=2, shuffle=False)) for rank in (0, 1)]
    assert [[batch[0].tolist() for batch in one] for one in found] == [[[0, 1], [4]], [[2, 3], [4]]]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("stop", [1, 6, 13, 14])
def test_a_state_goes_on_exactly_twice_over(workers, stop, epochs) -> None:
    expected = rows_of(epochs[0] + epochs[1])
    found, state, loaded = [], None, 0
    for leave in (stop, 2, None):
        loader = make(num_workers=workers if leave else 0)
        if state is not None:
            loader.load_state_dict(json.loads(json.dumps(state)))
        while loaded < 28:
            for batch in loader:
                found.append(batch)
                loaded += 1
                state = loader.state_dict()
                leave = leave and leave - 1
                if leave == 0 or loaded == 28:
                    break
            if leave == 0:
                break
    assert rows_of(found) == expected


def test_a_state_goes_on_with_another_number_of_ranks(epochs) -> None:
    ranks = [make(rank=rank, world_size=2) for rank in (0, 1)]
    found, states = [], []
    for loader in ranks:
        iterator = iter(loader)
        found += [next(iterator) for _ in range(3)]
        states.append(loader.state_dict())
    assert states[0] == states[1]
    alone = make(batch_size=3)
    alone.load_state_dict(states[0])
    assert sorted(rows_of(found + list(alone))) == sorted(rows_of(epochs[0]))


def test_a_state_is_small_and_plain() -> None:
    loader = make(DrawingSamples(2**40), seed=2**62)
    loader.load_state_dict({**loader.state_dict(), "position": 2**39, "epoch": 10_000})
    text = json.dumps(loader.state_dict())
    assert len(text) < 300
    assert set(json.loads(text)) == {"version", "seed", "epoch", "position", "fingerprint"}


def test_going_on_reads_nothing_that_was_skipped(epochs) -> None:
    loader = make()
    iterator = iter(loader)
    for _ in range(9):
        next(iterator)
    resumed = make()
    resumed.load_state_dict(loader.state_dict())
    rest = list(resumed)
    assert resumed.dataset.asked == [int(row[0]) for row in rows_of(rest)]
    assert same(rest, epochs[0][9:])


def test_going_on_in_a_trillion_samples_is_at_once() -> None:
    loader = make(DrawingSamples(10**12))
    loader.load_state_dict({**loader.state_dict(), "position": 5 * 10**11})
    began = time.thread_time()
    next(iter(loader))
    assert time.thread_time() - began < 5, "not in proportion to what was skipped"
    assert len(loader.dataset.asked) == BATCH


@pytest.mark.parametrize("workers", [0, 2])
def test_the_generators_of_the_main_process_are_left_alone(workers) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    list(make(num_workers=workers))
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_a_collate_function_draws_the_same_for_any_workers() -> None:
    def drawn(workers):
        return [
            [batch[0].tolist(), *map(float, batch[1:])]
            for batch in make(num_workers=workers, collate_fn=drawing_collate)
        ]

    assert drawn(0) == drawn(2)


def test_a_data_set_that_gives_many_at_once_has_the_same_samples(epochs) -> None:
    assert same(make(DrawingTogether(ROWS), num_workers=1), epochs[0])


def test_a_pass_that_was_left_is_not_gone_on_with(epochs) -> None:
    loader = make(num_workers=1)
    next(iter(loader))
    assert same(list(loader), epochs[1])


def test_set_epoch_chooses_the_epoch(epochs) -> None:
    loader = make()
    loader.sampler.set_epoch(2)  # Lightning's way
    assert same(list(loader), epochs[2])
    loader.set_epoch(1)
    assert same(list(loader), epochs[1])


def test_a_loader_can_be_pickled_where_it_is(epochs) -> None:
    loader = make()
    next(iter(loader))
    loader.load_state_dict(loader.state_dict())
    copy = pickle.loads(pickle.dumps(loader))
    assert same(list(copy), epochs[0][1:])


def test_torchs_arguments_may_be_given_in_its_order(epochs) -> None:
    loader = fb.DataLoader(
        DrawingSamples(ROWS), BATCH, True, None, None, 0, None, False, False, deterministic=True, seed=7
    )
    assert (loader.batch_size, loader.drop_last, len(loader)) == (BATCH, False, 14)
    assert isinstance(loader, torch.utils.data.DataLoader)
    assert same(list(loader), epochs[0])


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(range(3))


class Endless:
    def __getitem__(self, index):
        return index


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (
            None,
            {"sampler": [1, 2]},
            "sampler is not taken with deterministic=True: the order comes from shuffle= and seed=",
        ),
        (
            None,
            {"batch_sampler": [[1]]},
            "batch_sampler is not taken with deterministic=True: batches are cut by batch_size=",
        ),
        (None, {"generator": torch.Generator()}, "generator is not taken.*all random numbers come from seed="),
        (None, {"batch_size": None}, "batch_size is None; deterministic=True cuts the batches itself"),
        (None, {"batch_size": 0}, "batch_size is 0; expected a whole number of at least 1"),
        (None, {"shuffle": "window"}, "shuffle is 'window'; expected True .any sample anywhere. or False"),
        (None, {"in_order": False, "num_workers": 1}, "in_order=False gives batches as workers happen to finish"),
        (None, {"rank": 1}, "give both rank and world_size"),
        (None, {"rank": 2, "world_size": 2}, "rank is 2 of world_size 2"),
        (Stream(), {"shuffle": False}, "map-style data sets.*Stream can only be iterated.*state_dict"),
        (Endless(), {}, "data sets with a length; Endless has no __len__"),
    ],
)
def test_what_is_no_pure_function_of_the_seed_is_refused_by_name(dataset, options, message) -> None:
    with pytest.raises(SpecError, match=message):
        make(dataset, **options)


def test_a_subclass_is_told_what_to_derive_from() -> None:
    class Mine(fb.DataLoader):
        pass

    with pytest.raises(SpecError, match="derive from forebay.loaders.deterministic.DeterministicLoader"):
        Mine(DrawingSamples(3), deterministic=True)


def test_states_of_something_else_are_refused() -> None:
    state = make().state_dict()
    with pytest.raises(StateError, match="other data"):
        make(DrawingSamples(ROWS + 1)).load_state_dict(state)
    with pytest.raises(StateError, match="other data, transforms or shuffling"):
        make(shuffle=False).load_state_dict(state)
    with pytest.raises(StateError, match="no state of such a loader: found keys none"):
        make().load_state_dict({})
    with pytest.raises(SpecError, match="made with seed=7, this loader has seed=8"):
        make(seed=8).load_state_dict(state)
