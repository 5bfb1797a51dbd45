"""`state_dict` over any torch data set: what torchdata's StatefulDataLoader does, and states that both can load."""

import itertools
from typing import Any

import pytest
import torch
from support import stateful_sets as sets
from support.same import same
from torch.utils.data import BatchSampler, RandomSampler

import forebay as fb
from forebay.formats.errors import StateError

torchdata = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is what we compare with")
Theirs = torchdata.StatefulDataLoader
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # torchdata's
]

CASES: dict[str, Any] = {
    "rows": lambda: (sets.Counting(), {"batch_size": 3}),
    "shuffled": lambda: (sets.Counting(), {"batch_size": 3, "shuffle": True}),
    "by a generator": lambda: (
        sets.Counting(),
        {"batch_size": 3, "shuffle": True, "generator": torch.Generator().manual_seed(4)},
    ),
    "with replacement": lambda: (
        sets.Counting(),
        {"batch_size": 3, "sampler": RandomSampler(range(40), replacement=True, num_samples=70)},
    ),
    "sampler with a state": lambda: (sets.Counting(), {"batch_size": 3, "sampler": sets.Backwards(40)}),
    "batch_sampler": lambda: (sets.Counting(), {"batch_sampler": BatchSampler(sets.Backwards(40), 3, True)}),
    "one by one": lambda: (sets.Counting(), {"batch_size": None, "shuffle": True}),
    "rows with a state": lambda: (sets.Remembering(), {"batch_size": 3}),
    "stream": lambda: (sets.Plain(), {"batch_size": 3}),
    "stream of places": lambda: (sets.WithPlaces(), {"batch_size": 3}),
    "stream with a state": lambda: (sets.Own(), {"batch_size": 3}),
    "stream, one by one": lambda: (sets.WithPlaces(), {"batch_size": None}),
}


def loader(kind: Any, name: str, workers: int, **more: Any) -> Any:
    torch.manual_seed(11)
    data, settings = CASES[name]()
    return kind(data, num_workers=workers, **settings, **more)


def values(batches: Any) -> list[Any]:
    return [
        one.tolist() if isinstance(one, torch.Tensor) else values(one) if isinstance(one, list | tuple) else one
        for one in batches
    ]


def taken(kind: Any, name: str, workers: int, steps: int, **more: Any) -> tuple[list[Any], dict[str, Any], list[Any]]:
    """(batches before, state after `steps`, batches of the rest of the epoch and of the next)."""
    one = loader(kind, name, workers, **more)
    iterator = iter(one)
    before = list(itertools.islice(iterator, steps))
    state = one.state_dict()
    return before, state, list(iterator)


# with workers, of which each is a process, every two of case, steps and snapshots together, but not all three
STOPS = [(name, 0, steps, 1) for name in CASES for steps in (0, 1, 5)]
STOPS += [
    (name, 2, steps, every)
    for at, name in enumerate(CASES)
    for steps, every in ((0, 1), (1, 1 + 3 * (at % 2)), (5, 4 - 3 * (at % 2)))
]


@pytest.mark.parametrize(("name", "workers", "steps", "every"), STOPS)
def test_a_state_continues_exactly_and_is_torchdatas(name: str, workers: int, steps: int, every: int) -> None:
    more = {"snapshot_every_n_steps": every}
    before, state, rest = taken(fb.DataLoader, name, workers, steps, **more)
    before_theirs, their_state, rest_theirs = taken(Theirs, name, workers, steps, **more)
    if not _shuffled(name):
        assert same(before, before_theirs) and same(rest, rest_theirs)
    again = loader(fb.DataLoader, name, workers, **more)
    again.load_state_dict(state)
    assert same(list(again), rest)
    again = loader(fb.DataLoader, name, workers, **more)
    again.load_state_dict(their_state)
    if not _shuffled(name):
        assert same(list(again), rest)


def _shuffled(name: str) -> bool:
    """torchdata has a RandomSampler of its own, which draws another order than torch's; ours is torch's."""
    return name in ("shuffled", "by a generator", "with replacement", "one by one")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", CASES)
def test_torchdata_loads_our_state(name: str, workers: int) -> None:
    if _shuffled(name):
        pytest.skip(str(_shuffled.__doc__))
    _, state, rest = taken(fb.DataLoader, name, workers, 4)
    theirs = loader(Theirs, name, workers)
    theirs.load_state_dict(state)
    assert same(list(theirs), rest)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", CASES)
def test_the_keys_are_torchdatas(name: str, workers: int) -> None:
    ours, theirs = (taken(kind, name, workers, 3)[1] for kind in (fb.DataLoader, Theirs))

    def keys(state: Any, at: str = "") -> set[str]:
        if not isinstance(state, dict) or at.endswith(("_sampler_state", "_iter_state", "_index_sampler_state")):
            return {at}
        return set().union(*(keys(value, f"{at}/{key}") for key, value in state.items())) if state else {at}

    extra = keys(ours) ^ keys(theirs)
    assert all(one.rpartition("/")[2] in ("_random_state",) for one in extra), extra


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", CASES)
def test_several_resumes_in_a_row_and_over_the_end_of_an_epoch(name: str, workers: int, persistent: bool) -> None:
    if persistent and not workers:
        pytest.skip("torch refuses persistent workers where there are none")
    more = {"persistent_workers": persistent}
    whole = loader(fb.DataLoader, name, workers, **more)
    first = values(whole)
    second = values(whole)
    found: list[Any] = []
    state, random = None, None
    for steps in (2, 2, 1, 2, None):
        one = loader(fb.DataLoader, name, workers, **more)
        if state is not None and random is not None:
            torch.set_rng_state(random)  # a checkpoint holds the generators, too
            one.load_state_dict(state)
        iterator = iter(one)
        found += values(itertools.islice(iterator, steps))
        state, random = one.state_dict(), torch.get_rng_state()
    assert found == first
    again = loader(fb.DataLoader, name, workers, **more)
    again.load_state_dict(state)
    torch.set_rng_state(random)
    assert values(one) == second, "in the process that went on"
    if persistent and name == "stream with a state":
        return  # torchdata's goes on behind the last batch of each worker here, and so does ours
    torch.set_rng_state(random)
    assert values(again) == second, "in another that begins with the state at the end"


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
@pytest.mark.parametrize("name", ["shuffled", "with replacement", "one by one"])
def test_a_state_at_an_epochs_end_holds_the_next_order_and_draws_what_torch_draws(
    name: str, workers: int, persistent: bool
) -> None:
    one = loader(fb.DataLoader, name, workers, persistent_workers=persistent)
    list(one)
    state, random = one.state_dict(), torch.get_rng_state()
    second = values(one)
    drawn = torch.get_rng_state()
    again = loader(fb.DataLoader, name, workers, persistent_workers=persistent)
    torch.manual_seed(99)  # the generators are not restored
    again.load_state_dict(state)
    assert values(again) == second
    torch.set_rng_state(random)
    again = loader(fb.DataLoader, name, workers, persistent_workers=persistent)
    torch.set_rng_state(random)
    again.load_state_dict(state)
    assert values(again) == second
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of torch: it is deleted half made
def test_a_state_of_another_number_of_workers_is_refused() -> None:
    state = taken(fb.DataLoader, "rows", 2, 2)[1]
    for workers in (0, 3):
        one = loader(fb.DataLoader, "rows", workers)
        one.load_state_dict(state)
        with pytest.raises(
            StateError, match=f"made with num_workers=2, this loader has num_workers={workers}: give the same"
        ):
            list(one)


@pytest.mark.parametrize("state", [{"version": 1, "position": 5}, "state"])
def test_what_is_no_state_is_refused(state: Any) -> None:
    found = "keys version, position" if isinstance(state, dict) else "'state'"
    with pytest.raises(
        StateError, match=f"no state of a loader over a torch data set: found {found}; expected what its"
    ):
        fb.DataLoader([1, 2, 3], 2).load_state_dict(state)


def test_a_stream_without_a_state_is_run_again_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    state = taken(fb.DataLoader, "stream", 0, 3)[1]
    one = loader(fb.DataLoader, "stream", 0)
    one.load_state_dict(state)
    list(one)
    assert "it is run again for the 3 batches" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of torch: it is deleted half made
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_that_has_become_shorter_is_refused(workers: int) -> None:
    _, state, _ = taken(fb.DataLoader, "stream", workers, 5)
    one = fb.DataLoader(sets.Plain(12), 3, num_workers=workers)
    one.load_state_dict(state)
    with pytest.raises(StateError, match=r"made behind batch \d, but the data set ends after \d batches now"):
        list(one)


def test_a_finished_state_in_which_torchdata_counts_batches_twice() -> None:
    settings = {"batch_size": 3, "num_workers": 2, "persistent_workers": True}
    first = Theirs(sets.Plain(7), **settings)
    epoch = values(first)
    second = Theirs(sets.Plain(7), **settings)
    second.load_state_dict(first.state_dict())
    state = second.state_dict()
    assert state["_snapshot"]["_snapshot_step"] == 2 * len(epoch) and state["_iterator_finished"]
    one = fb.DataLoader(sets.Plain(7), **settings)
    one.load_state_dict(state)
    assert values(one) == epoch


def test_an_empty_state_leaves_the_state_loaded_before() -> None:
    for kind in (fb.DataLoader, Theirs):
        _, state, rest = taken(kind, "rows", 0, 4)
        one = loader(kind, "rows", 0)
        one.load_state_dict(state)
        one.load_state_dict({})
        assert same(list(one), rest)


def test_a_state_survives_torch_save(tmp_path: Any) -> None:
    _, state, rest = taken(fb.DataLoader, "shuffled", 2, 4)
    torch.save(state, tmp_path / "state.pt")
    one = loader(fb.DataLoader, "shuffled", 2)
    one.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=False))
    assert same(list(one), rest)


def test_an_error_in_a_state_dict_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any) -> dict[str, Any]:
        raise ValueError("no state today")

    monkeypatch.setattr(sets.Remembering, "state_dict", broken)
    with pytest.raises(ValueError, match="no state today"):
        one = loader(fb.DataLoader, "rows with a state", 1)
        list(one)
