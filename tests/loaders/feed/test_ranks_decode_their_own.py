"""Mixtures and batches by length over Parquet: ranks decode rows of their own, in an order that is the same for any number of
ranks, and go on exactly with another number."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forebay as fb
from forebay.engine.mix import Mixture
from forebay.formats.source import Source
from forebay.formats.store import Store
from forebay.loaders import decoded_rows

A, B, GROUP = 12_013, 6_007, 50


def table(rows: int, first: int, *, unequal: bool = False) -> pa.Table:
    rng = np.random.default_rng(first)
    lengths = rng.integers(1, 40, rows).astype(np.int32)
    if unequal:  # long ones all in one place
        lengths = np.where(np.arange(rows) < rows // 8, 400, 3).astype(np.int32)
    return pa.table(
        {"row": np.arange(first, first + rows), "n": lengths, "x": rng.normal(size=rows).astype(np.float32)}
    )


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("members")
    made = {"a": table(A, 0), "b": table(B, 1_000_000), "unequal": table(A, 0, unequal=True)}
    for name, each in made.items():
        pq.write_table(each, folder / f"{name}.parquet", row_group_size=GROUP)
    return {name: str(folder / f"{name}.parquet") for name in made}


OPTIONS = {"shuffle": "window", "window_rows": 2000, "seed": 3}


def mixture(paths: dict[str, str], stop: Any = "all", weights: tuple[float, float] = (0.7, 0.3)) -> Mixture:
    return fb.mix({fb.scan(paths["a"]): weights[0], fb.scan(paths["b"]): weights[1]}, stop=stop)


def mixed(paths: dict[str, str], rank: int, world: int, batch: int = 50, threads: int = 0, **options: Any) -> Any:
    data = mixture(paths, **options)
    return fb.DataLoader(data, batch, rank=rank, world_size=world, num_workers=threads, **OPTIONS)


def by_rows(paths: dict[str, str], rank: int, world: int, batch: int = 50, threads: int = 0, name: str = "a") -> Any:
    by = fb.ByLength("n", window_rows=500)
    data = fb.scan(paths[name])
    return fb.DataLoader(data, batch, batching=by, rank=rank, world_size=world, num_workers=threads, **OPTIONS)


def by_tokens(paths: dict[str, str], rank: int, world: int, batch: int = 1, threads: int = 0, name: str = "a") -> Any:
    by = fb.ByLength("n", tokens=800, window_rows=500)
    data = fb.scan(paths[name])
    return fb.DataLoader(data, batch, batching=by, rank=rank, world_size=world, num_workers=threads, **OPTIONS)


KINDS = [mixed, by_rows, by_tokens]


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, column: str = "x") -> Iterator[Counter[str]]:
    """Rows decoded, by file, in reads of `column`."""
    found: Counter[str] = Counter()
    original = Source.read

    def read(self: Source, fragment: Any, **given: Any) -> Iterator[pa.RecordBatch]:
        for batch in original(self, fragment, **given):
            if column in (given.get("columns") or [column]):
                found[Path(fragment.path).stem] += batch.num_rows
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(Source, "read", read)
        yield found


def steps(loaders: list[Any]) -> list[list[list[int]]]:
    """Rows by step and rank."""
    return [[batch["row"].tolist() for batch in step] for step in zip(*loaders, strict=True)]


@pytest.mark.parametrize(
    ("make", "world", "threads"),
    [(make, world, 2 * ((at + world // 4) % 2)) for at, make in enumerate(KINDS) for world in (1, 4, 8)],
)
def test_each_rank_decodes_little_more_than_it_is_given(
    paths: dict[str, str], make: Any, world: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in range(world):
        with counted(monkeypatch) as decoded:
            given = [row for batch in make(paths, rank, world, threads=threads) for row in batch["row"].tolist()]
        # beside its own: in each lane the two fragments where lanes meet, and what is behind all lanes
        lanes, members = 8 // world, 2 if make is mixed else 1
        laps = 3 if make is mixed else 1  # the small member begins again
        more = (2 * GROUP * lanes + 2 * GROUP) * members * laps
        assert len(given) <= sum(decoded.values()) <= len(given) + more
        assert more < 0.4 * len(given) or world == 8


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("world", [3, 4, 8])
def test_a_step_holds_the_same_rows_for_any_number_of_ranks(paths: dict[str, str], make: Any, world: int) -> None:
    together = steps([make(paths, rank, world) for rank in range(world)])
    if make is mixed:
        alone = [sorted(row for rank in step for row in rank) for step in steps([mixed(paths, 0, 1, 50 * world)])]
    else:
        batches = [rank for step in steps([make(paths, 0, 1)]) for rank in step]
        alone = [
            sorted(row for each in batches[at : at + world] for row in each) for at in range(0, len(batches), world)
        ]
    assert [sorted(row for rank in step for row in rank) for step in together[:-1]] == alone[:-1]
    last = {row for rank in together[-1] for row in rank}
    assert set(alone[-1]) <= last  # a rank without a row or a batch repeats one of its own


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 3), (3, 8)])
def test_another_number_of_ranks_goes_on_exactly(paths: dict[str, str], make: Any, before: int, after: int) -> None:
    whole = Counter(row for step in steps([make(paths, 0, 1)]) for rank in step for row in rank)
    first = [make(paths, rank, before) for rank in range(before)]
    done: list[int] = []
    for at, step in enumerate(zip(*first, strict=True)):
        done += [row for batch in step for row in batch["row"].tolist()]
        if at == 10:
            break
    states = [one.state_dict() for one in first]
    assert all(one == states[0] for one in states) and len(str(states[0])) < 300
    second = [make(paths, rank, after) for rank in range(after)]
    for one in second:
        one.load_state_dict(states[0])
    rest = steps(second)
    given = Counter(done + [row for step in rest for rank in step for row in rank])
    assert set(given) == set(whole)
    assert sum((given - whole).values()) < after and whole - given == Counter()


@pytest.mark.parametrize("make", KINDS)
def test_order_does_not_depend_on_threads(paths: dict[str, str], make: Any) -> None:
    assert steps([make(paths, 1, 4)]) == steps([make(paths, 1, 4, threads=3)])


@pytest.mark.parametrize("world", [1, 2, 8])
def test_proportions_of_a_step_are_exact_for_any_number_of_ranks(paths: dict[str, str], world: int) -> None:
    for step in steps([mixed(paths, rank, world, 10) for rank in range(world)])[:200]:
        assert sum(row >= 1_000_000 for rank in step for row in rank) == 3 * world


def test_a_small_member_begins_again_when_all_of_its_rows_were_given(paths: dict[str, str]) -> None:
    rows = [row for step in steps([mixed(paths, 0, 1, weights=(0.25, 0.75))]) for row in step[0]]
    small = [row for row in rows if row >= 1_000_000]
    laps = [small[start : start + B] for start in range(0, len(small) - B, B)]
    assert len(laps) == 5 and all(len(set(lap)) == B for lap in laps)
    assert len({tuple(lap[:100]) for lap in laps}) == 5
    large = [row for row in rows if row < 1_000_000]
    assert sorted(large) == list(range(A))


def test_lengths_stay_near_to_each_other_and_the_budget_is_kept(paths: dict[str, str]) -> None:
    lengths = table(A, 0)["n"].to_numpy()
    batches = [np.array(rank) for step in steps([by_tokens(paths, 0, 1)]) for rank in step]
    cost = [len(each) * int(lengths[each].max()) for each in batches]
    assert max(cost) <= 800 and float(np.mean(cost)) > 0.85 * 800
    assert sum(int(lengths[each].max()) * len(each) for each in batches) < 1.2 * int(lengths.sum())


def test_where_lanes_are_of_very_different_lengths_batches_stay_full(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = table(A, 0, unequal=True)["n"].to_numpy()
    ranks = [by_tokens(paths, rank, 2, name="unequal", threads=rank) for rank in range(2)]
    with counted(monkeypatch) as decoded:
        found = steps(ranks)
    given = [row for step in found for rank in step for row in rank]
    assert set(given) == set(range(A)) and len(given) - A < 2
    needed = -(-int(lengths.sum()) // 800)
    assert len(found) * 2 < 1.3 * needed
    assert sum(decoded.values()) > 1.2 * A  # some rounds are cut from all lanes together, and read by both


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("make", KINDS)
def test_rows_that_are_fetched_ahead_are_the_ranks_own_too(
    paths: dict[str, str], make: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = steps([make(paths, 1, 4)])
    with monkeypatch.context() as patched, counted(monkeypatch) as decoded:
        patched.setattr(Store, "local", property(lambda self: False, lambda self, value: None), raising=False)
        assert steps([make(paths, 1, 4, threads=threads)]) == expected
    given = sum(len(rank) for step in expected for rank in step)
    assert sum(decoded.values()) < 1.6 * given


def test_rounds_cut_from_all_lanes_are_fetched_ahead_too(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = steps([by_tokens(paths, 1, 2, name="unequal")])
    monkeypatch.setattr(Store, "local", property(lambda self: False, lambda self, value: None), raising=False)
    ahead: list[list[int]] = []
    original = decoded_rows.RowsAhead
    monkeypatch.setattr(
        decoded_rows, "RowsAhead", lambda *given, **named: ahead.append(named["lanes"]) or original(*given, **named)
    )
    assert steps([by_tokens(paths, 1, 2, name="unequal", threads=2)]) == expected
    assert [1, 3, 5, 7] in ahead and list(range(8)) in ahead  # its own, and all, by turns
