"""The loader over a forebay Dataset: each row once, in an order that threads, ranks and resumes do not change."""

import json
from pathlib import Path

import pytest
import torch
from support import tables

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import DataError, SpecError, StateError, UnknownNameError

ROWS = 3000


@pytest.fixture(scope="module", params=["parquet", "arrow"])
def ds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    path = tmp_path_factory.mktemp("feed")
    raw = fb.scan(str(tables.write_parquet(path / "raw")))
    raw.apply(T.FillNull(["x"], value=0.0)).write(str(path / "out"), format=request.param, max_rows=700)
    return fb.scan(str(path / "out"))


def rows_of(loader: object) -> list[torch.Tensor]:
    return [batch["row"] for batch in loader]  # type: ignore[attr-defined]  # any iterable of batches


@pytest.mark.parametrize("shuffle", [False, True, "window"])
@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 64, 1000, 5000])
def test_every_row_once_whatever_the_settings(
    ds: fb.Dataset, shuffle: bool | str, threads: int, batch_size: int
) -> None:
    loader = fb.DataLoader(ds, batch_size=batch_size, shuffle=shuffle, num_workers=threads, window_rows=800)
    batches = rows_of(loader)
    assert len(batches) == len(loader) == -(-ROWS // batch_size)
    assert torch.equal(torch.cat(batches).sort().values, torch.arange(ROWS))


@pytest.mark.parametrize("shuffle", [True, "window"])
def test_order_does_not_depend_on_threads_and_changes_with_epoch_and_seed(ds: fb.Dataset, shuffle: bool | str) -> None:
    def order(seed: int = 0, threads: int = 0, epoch: int = 0) -> list[int]:
        loader = fb.DataLoader(ds, batch_size=100, shuffle=shuffle, seed=seed, num_workers=threads, window_rows=900)
        loader.set_epoch(epoch)
        return torch.cat(rows_of(loader)).tolist()

    assert order() == order(threads=1) == order(threads=3)
    assert len({tuple(order(seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_it_is_a_torch_loader(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds, batch_size=10, shuffle=True, pin_memory=True, prefetch_factor=2)
    assert isinstance(loader, torch.utils.data.DataLoader) and isinstance(loader, fb.DataLoader)
    assert isinstance(fb.DataLoader([1, 2, 3], batch_size=2), torch.utils.data.DataLoader)


def test_batches_that_are_kept_are_never_overwritten(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds, batch_size=50, shuffle=True, num_workers=2)
    kept = [(batch["row"], batch["row"].clone(), batch["x"].clone(), batch["x"]) for _ in range(3) for batch in loader]
    assert all(torch.equal(one, copy) and torch.equal(x, x_copy) for one, copy, x_copy, x in kept)
    views = [one.numpy()[3:5] for one, *_ in kept]  # a view of a view holds the memory, too
    copies = [one.copy() for one in views]
    del kept
    for _ in loader:
        pass
    assert all((view == copy).all() for view, copy in zip(views, copies, strict=True))


def test_memory_is_used_again_when_batches_are_dropped(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds, batch_size=50, num_workers=0)
    for _ in range(30):
        for _ in loader:
            pass
    assert loader._feed.ring.made <= 3  # one in work, one with the trainer, one on the way back


@pytest.mark.parametrize("shuffle", [False, True, "window"])
@pytest.mark.parametrize("stop", [0, 1, 13, 29, 30])
def test_resume_at_any_step_continues_exactly_twice(ds: fb.Dataset, shuffle: bool | str, stop: int) -> None:
    def make(threads: int) -> fb.DataLoader:
        return fb.DataLoader(ds, batch_size=100, shuffle=shuffle, seed=5, num_workers=threads, window_rows=700)

    first = make(2)
    whole = rows_of(first) + rows_of(first)
    loader = make(1)
    iterator = iter(loader)
    for _ in range(stop):
        next(iterator)
    state = json.loads(json.dumps(loader.state_dict()))
    assert len(json.dumps(state)) < 300
    again = make(0)
    again.load_state_dict(state)
    some = iter(again)
    more = [next(some)["row"] for _ in range(min(5, 30 - stop))]
    last = make(3)
    last.load_state_dict(again.state_dict())
    rest = rows_of(last)
    if len(more) + stop == 30:  # at an epoch's end, the next iteration is the next epoch
        assert all(torch.equal(one, other) for one, other in zip(rest, whole[30:], strict=True))
    else:
        assert all(torch.equal(one, other) for one, other in zip([*more, *rest], whole[stop:30], strict=True))


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_the_rows_and_make_as_many_steps(ds: fb.Dataset, world: int, drop_last: bool) -> None:
    def make(rank: int) -> fb.DataLoader:
        return fb.DataLoader(
            ds, batch_size=37, shuffle=True, rank=rank, world_size=world, drop_last=drop_last, num_workers=1
        )

    ranks = [rows_of(make(rank)) for rank in range(world)]
    assert len({len(one) for one in ranks}) == 1
    seen = torch.cat([row for one in ranks for row in one])
    unique = seen.unique()
    if drop_last:
        assert len(seen) == len(unique) == ROWS // (37 * world) * 37 * world
    else:
        assert torch.equal(unique, torch.arange(ROWS)) and len(seen) - ROWS < world


def test_resume_with_another_world_size_repeats_and_loses_nothing(ds: fb.Dataset) -> None:
    def make(rank: int, world: int, batch: int) -> fb.DataLoader:
        return fb.DataLoader(ds, batch_size=batch, shuffle=True, seed=1, rank=rank, world_size=world)

    before = []
    states = []
    for rank in range(2):
        loader = make(rank, 2, 60)
        iterator = iter(loader)
        before += [next(iterator)["row"] for _ in range(7)]
        states.append(loader.state_dict())
    assert states[0] == states[1]
    after = []
    for rank in range(5):
        loader = make(rank, 5, 24)
        loader.load_state_dict(states[0])
        after += rows_of(loader)
    assert torch.equal(torch.cat(before + after).sort().values, torch.arange(ROWS))


def test_a_state_of_other_data_or_order_is_refused(ds: fb.Dataset) -> None:
    state = fb.DataLoader(ds, batch_size=10).state_dict()
    with pytest.raises(StateError, match="other data, transforms or shuffling"):
        fb.DataLoader(ds, batch_size=10, shuffle=True).load_state_dict(state)
    with pytest.raises(StateError, match="other data"):
        fb.DataLoader(ds.filter("n > 0"), batch_size=10).load_state_dict(state)
    with pytest.raises(SpecError, match="seed=0, this loader has seed=1"):
        fb.DataLoader(ds, batch_size=10, seed=1).load_state_dict(state)


def test_transforms_run_in_the_loader_as_offline(ds: fb.Dataset, tmp_path: Path) -> None:
    online = ds.filter("n > -500").apply(T.Standardize(["x"]), T.Categorize(["s"]), T.Log1p(["y"])).fit()
    online.write(str(tmp_path / "out"))
    offline = fb.scan(str(tmp_path / "out"))
    pairs = zip(fb.DataLoader(online, batch_size=128), fb.DataLoader(offline, batch_size=128), strict=True)
    for left, right in pairs:
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("columns", [("row", "x"), ("x",), ("s", "row"), ("row", "y")])
def test_selected_columns_are_all_there_is(ds: fb.Dataset, columns: tuple[str, ...]) -> None:
    scaled = ds.apply(T.Standardize(["x"])).fit()
    whole = next(iter(fb.DataLoader(scaled, batch_size=300, shuffle=True)))
    some = next(iter(fb.DataLoader(scaled.select(*columns), batch_size=300, shuffle=True)))
    assert tuple(some) == columns
    assert all(torch.equal(some[name], whole[name]) for name in columns if name != "s")
    assert "s" not in columns or some["s"] == whole["s"]


def test_text_comes_as_lists_in_the_batchs_order(ds: fb.Dataset) -> None:
    oracle = tables.table(ROWS).column("s").to_pylist()
    for batch in fb.DataLoader(ds, batch_size=90, shuffle=True, num_workers=2):
        assert batch["s"] == [oracle[row] for row in batch["row"].tolist()]


def test_two_columns_make_pairs(ds: fb.Dataset) -> None:
    x, y = next(iter(fb.DataLoader(ds, batch_size=8, columns=["x", "y"])))
    assert x.dtype == torch.float32 and y.dtype == torch.int64 and len(x) == 8


def test_random_transforms_of_a_users_own_see_ids_not_batches(ds: fb.Dataset) -> None:
    one = torch.cat(rows_of(fb.DataLoader(ds, batch_size=7, shuffle=True, seed=2)))
    other = torch.cat(rows_of(fb.DataLoader(ds, batch_size=311, shuffle=True, seed=2, num_workers=2)))
    assert torch.equal(one, other)


def test_null_in_an_integer_column_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, None, 3]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column 'a' .*1 nulls.*FillNull"):
        next(iter(fb.DataLoader(fb.scan(str(tmp_path / "t.parquet")), batch_size=3)))


def test_one_row_and_no_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"row": [5]}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"row": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    assert torch.cat(
        rows_of(fb.DataLoader(fb.scan(str(tmp_path / "one.parquet")), batch_size=4, shuffle=True))
    ).tolist() == [5]
    assert rows_of(fb.DataLoader(fb.scan(str(tmp_path / "none.parquet")), batch_size=4, shuffle=True)) == []


def test_what_cannot_be_asked_is_said(ds: fb.Dataset) -> None:
    with pytest.raises(SpecError, match="sampler is not taken .*DistributedSampler"):
        fb.DataLoader(ds, batch_size=2, sampler=[1, 2])
    with pytest.raises(UnknownNameError, match="did you mean num_workers"):
        fb.DataLoader(ds, batch_size=2, num_worker=2)
    with pytest.raises(SpecError, match="batch_size is 0"):
        fb.DataLoader(ds, batch_size=0)
    with pytest.raises(SpecError, match="shuffle is 'all'"):
        fb.DataLoader(ds, shuffle="all")
    with pytest.raises(SpecError, match="both rank and world_size"):
        fb.DataLoader(ds, rank=1)
    with pytest.raises(UnknownNameError, match="column 'z'"):
        fb.DataLoader(ds, columns=["z"])


def test_a_global_shuffle_of_parquet_says_what_to_do(tmp_path: Path) -> None:
    ds = fb.scan(str(tables.write_parquet(tmp_path / "raw")))
    with pytest.raises(SpecError, match="format='arrow'"):
        next(iter(fb.DataLoader(ds, shuffle="global")))


def test_a_pass_that_was_left_is_not_gone_on_with(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds, batch_size=50)
    begun = [next(iter(loader))["row"].tolist() for _ in range(3)]
    assert begun[0] == begun[1] == begun[2]


@pytest.mark.parametrize("steps", [0, 1, 13, 29, 30, 40])
def test_skipped_steps_lead_where_taken_ones_do(ds: fb.Dataset, steps: int) -> None:
    for options in ({}, {"batching": fb.ByLength("s", window_rows=500)}):
        loader = fb.DataLoader(ds, batch_size=100, shuffle=True, **options)
        batching, positions = loader._made().batching, [0]
        for _ in loader:
            positions.append(loader.state_dict()["position"])
        expected = positions[min(steps, len(positions) - 1)]
        assert batching.position_after(0, 0, steps) == expected
