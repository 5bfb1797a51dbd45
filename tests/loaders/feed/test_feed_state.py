"""The state: small, the same on each rank, and exact for every way that rows become batches."""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import lists

import forebay as fb
from forebay.formats.errors import StateError

ROWS = 1500
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, fb.Dataset]:
    base = tmp_path_factory.mktemp("state")
    return {
        "arrow": lists.token_set(base / "arrow", rows=ROWS).select("row", "length"),
        "parquet": lists.token_set(base / "parquet", rows=ROWS, format="parquet").select("row", "length"),
        "small": lists.token_set(base / "small", rows=400, format="parquet").select("row", "length"),
    }


def make(sets: dict[str, fb.Dataset], kind: str, **options: Any) -> Any:
    asked = {"batch_size": 32, "seed": 5, "window_rows": 300, **options}
    if kind.startswith("mixture"):
        return fb.DataLoader(fb.mix({sets["parquet"]: 0.75, sets["small"]: 0.25}, stop=kind[8:]), shuffle=True, **asked)
    if kind.startswith("length"):
        by = fb.ByLength("length", tokens=400 if kind == "length tokens" else None, window_rows=256)
        return fb.DataLoader(sets["parquet"], shuffle=True, batching=by, **asked)
    data = sets["arrow" if kind == "global" else "parquet"]
    return fb.DataLoader(data, shuffle=False if kind == "none" else kind, **asked)


KINDS = ["none", "global", "window", "mixture first", "mixture all", "mixture never", "length", "length tokens"]


def some(loader: Any, count: int) -> list[list[int]]:
    """The rows of the next `count` batches; fewer where the epoch ends."""
    return [batch["row"].tolist() for batch in islice(loader, count)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 30), min_size=1, max_size=3), threads=st.lists(st.integers(0, 3), min_size=4))
def test_any_number_of_resumes_continues_exactly(
    sets: dict[str, fb.Dataset], kind: str, stops: list[int], threads: list[int]
) -> None:
    whole = some(make(sets, kind, num_workers=2), sum(stops) + 5)
    found, state = [], make(sets, kind).state_dict()
    for at, stop in enumerate([*stops, 5]):
        loader = make(sets, kind, num_workers=threads[at % len(threads)])
        loader.load_state_dict(state)
        found += some(loader, stop)
        if len(found) >= len(whole):  # the epoch is over, and what is loaded then is the next one's
            break
        state = json.loads(json.dumps(loader.state_dict()))
        assert len(json.dumps(state)) < 300
    assert found[: len(whole)] == whole


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mixture never"])
def test_at_an_epochs_end_the_next_one_begins(sets: dict[str, fb.Dataset], kind: str) -> None:
    loader = make(sets, kind)
    first, second = some(loader, 10**6), some(loader, 10**6)
    again = make(sets, kind, num_workers=1)
    assert some(again, 10**6) == first
    last = make(sets, kind)
    last.load_state_dict(again.state_dict())
    assert last.end_of_dataloader and some(last, 10**6) == second
    assert (first != second) == (kind != "none")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mixture never"])
@pytest.mark.parametrize("worlds", [(2, 3), (3, 1), (1, 4)])
@pytest.mark.parametrize("keep", [True, False], ids=["same global batch", "other"])
def test_on_another_number_of_ranks_nothing_is_lost_or_comes_twice(
    sets: dict[str, fb.Dataset], kind: str, worlds: tuple[int, int], keep: bool
) -> None:
    before, after = worlds
    size = 48 // before if keep and not kind.startswith("length") else 16
    sizes = (size, 48 // after if keep and not kind.startswith("length") else 16)
    oracle = sorted(row for batch in some(make(sets, kind, batch_size=16), 10**6) for row in batch)
    found, states = [], []
    for rank in range(before):
        loader = make(sets, kind, batch_size=sizes[0], rank=rank, world_size=before)
        found += some(loader, 7)
        states.append(loader.state_dict())
    assert all(state == states[0] for state in states)
    for rank in range(after):
        loader = make(sets, kind, batch_size=sizes[1], rank=rank, world_size=after, num_workers=1)
        loader.load_state_dict(states[0])
        found += some(loader, 10**6)
    rows = sorted(row for batch in found for row in batch)
    for row in oracle:
        rows.remove(row)
    assert len(rows) < after  # a rank without a row in the last step repeats one, so that all make as many steps


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("global", "none"),
        ("window", "none"),
        ("length", "length tokens"),
        ("length", "window"),
        ("mixture first", "mixture all"),
        ("mixture first", "window"),
    ],
)
def test_a_state_of_another_order_is_refused(sets: dict[str, fb.Dataset], one: str, other: str) -> None:
    with pytest.raises(StateError, match="other data, transforms or shuffling .*would repeat and lose rows"):
        make(sets, other).load_state_dict(make(sets, one).state_dict())


def test_weights_window_rows_and_by_length_count_in_the_fingerprint_and_padding_does_not(
    sets: dict[str, fb.Dataset],
) -> None:
    def identity(data: Any = sets["parquet"], **options: Any) -> str:
        return str(fb.DataLoader(data, **{"shuffle": True, "batch_size": 8, **options}).state_dict()["fingerprint"])

    a, b = sets["parquet"], sets["small"]
    different = [
        identity(),
        identity(window_rows=77),
        identity(shuffle=False),
        identity(batching=fb.ByLength("length")),
        identity(batching=fb.ByLength("length"), batch_size=16),
        identity(batching=fb.ByLength("length", window_rows=100)),
        identity(batching=fb.ByLength("length", tokens=100)),
        identity(batching=fb.ByLength("length", tokens=100, padded=False)),
        identity(fb.mix({a: 1, b: 1})),
        identity(fb.mix({b: 1, a: 1})),
        identity(fb.mix({a: 2, b: 1})),
        identity(fb.mix({a: 1, b: 1}, stop="never")),
    ]
    assert len(set(different)) == len(different)
    assert identity() == identity(batch_size=16, num_workers=2, pad=8, overwrite=True, drop_last=True)
    assert identity(fb.mix({a: 0.5, b: 0.5})) == identity(fb.mix({a: 1, b: 1}))


def test_a_state_of_another_version_is_refused(sets: dict[str, fb.Dataset]) -> None:
    loader = make(sets, "window")
    with pytest.raises(StateError, match="version 99; this forebay reads version"):
        loader.load_state_dict({**loader.state_dict(), "version": 99})


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (5, "no state of such a loader: found 5; expected version, seed, epoch, position, fingerprint"),
        ({}, "found keys none"),
        (
            {"_num_yielded": 3, "_iterator_finished": False},
            "found keys _iterator_finished, _num_yielded; expected version",
        ),
        ({"position": -3}, "position of the loader state is -3; expected a whole number from 0 on"),
        ({"epoch": "first"}, "epoch of the loader state is 'first'; expected a whole number from 0 on"),
    ],
)
def test_what_is_no_state_is_refused(sets: dict[str, fb.Dataset], state: Any, told: str) -> None:
    loader = make(sets, "window")
    whole = (
        {**loader.state_dict(), **state} if state and state.__class__ is dict and "_num_yielded" not in state else state
    )
    with pytest.raises(StateError, match=told):
        loader.load_state_dict(whole)


def test_the_state_is_of_the_batch_given_not_of_those_prepared(sets: dict[str, fb.Dataset]) -> None:
    loader = make(sets, "global", num_workers=3)
    for number, batch in enumerate(loader, 1):
        assert loader.state_dict()["position"] == min(32 * number, ROWS)
        assert isinstance(batch["row"], torch.Tensor)


def test_it_is_plain_values_under_five_names(sets: dict[str, fb.Dataset]) -> None:
    state = make(sets, "window").state_dict()
    assert list(state) == ["version", "seed", "epoch", "position", "fingerprint"]
    assert all(type(value) in (int, str) for value in state.values())
