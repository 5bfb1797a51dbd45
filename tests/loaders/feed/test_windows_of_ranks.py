"""Shuffle windows on several ranks: each row once, in an order that is the same for any number of ranks, decoded once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forebay as fb
from forebay.formats.errors import CorruptError
from forebay.formats.source import Source

ROWS = 4_003


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("table")
    table = pa.table({"row": np.arange(ROWS), "x": np.arange(ROWS, dtype=np.float32)})
    for at in range(4):
        pq.write_table(table.slice(at * 1000, 1000 if at < 3 else None), folder / f"{at}.parquet", row_group_size=100)
    return str(folder / "*.parquet")


def loader(
    path: str, rank: int = 0, world: int = 1, *, batch: int = 24, threads: int = 0, drop: bool = False
) -> fb.DataLoader:
    return fb.DataLoader(
        fb.scan(path),
        batch_size=batch,
        shuffle="window",
        window_rows=500,
        num_workers=threads,
        rank=rank,
        world_size=world,
        drop_last=drop,
    )


def steps(loaders: list[fb.DataLoader]) -> list[list[list[int]]]:
    """Rows by step and rank."""
    return [[batch["row"].tolist() for batch in step] for step in zip(*loaders, strict=True)]


def ranks(path: str, world: int, batch: int, threads: int = 0) -> list[fb.DataLoader]:
    return [loader(path, rank, world, batch=batch, threads=threads) for rank in range(world)]


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_a_global_batch_holds_the_same_rows_for_any_number_of_ranks(path: str, world: int, threads: int) -> None:
    alone = [set(batch["row"].tolist()) for batch in loader(path, batch=24 * world)]
    together = steps(ranks(path, world, 24, threads))
    assert [set().union(*step) for step in together] == alone
    assert sorted(row for step in alone for row in step) == list(range(ROWS))
    given = [row for step in together[:-1] for rank in step for row in rank]
    assert len(given) == len(set(given))


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 8), (8, 3), (3, 2)])
def test_another_number_of_ranks_goes_on_without_loss_or_repetition(path: str, before: int, after: int) -> None:
    first = ranks(path, before, 10)
    done: list[int] = []
    for at, step in enumerate(zip(*first, strict=True)):
        done += [row for batch in step for row in batch["row"].tolist()]
        if at == 6:
            break
    states = {str(one.state_dict()) for one in first}
    assert len(states) == 1
    second = ranks(path, after, 16)
    for one in second:
        one.load_state_dict(first[0].state_dict())
    rest = steps(second)
    given = Counter(done + [row for step in rest for rank in step for row in rank])
    assert set(given) == set(range(ROWS))
    assert sum(given.values()) - ROWS < after  # a rank without a row in the last step repeats one of its own


def test_a_rank_without_a_row_in_the_last_step_repeats_one_of_its_own(path: str) -> None:
    together = steps(ranks(path, 8, 100))  # 4,003 = 5 * 800 + 3
    assert [len(rank) for rank in together[-1]] == [1] * 8
    mine = [{row for step in together[:-1] for row in step[rank]} for rank in range(8)]
    repeated = [rank for rank in range(8) if set(together[-1][rank]) <= mine[rank]]
    assert len(repeated) == 5


def test_fewer_rows_than_ranks(tmp_path: Path) -> None:
    pq.write_table(pa.table({"row": np.arange(3)}), tmp_path / "t.parquet")
    (step,) = steps(ranks(str(tmp_path / "t.parquet"), 4, 2))
    assert set().union(*step) == {0, 1, 2} and all(len(one) == 1 for one in step)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("world", [1, 4])
def test_ranks_decode_fragments_of_their_own(
    path: str, world: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    original = Source.read

    def counted(self: Source, fragment, **given):  # type: ignore[no-untyped-def]  # as the original's
        read[-1].append(f"{fragment.path}:{fragment.start}")
        return original(self, fragment, **given)

    monkeypatch.setattr(Source, "read", counted)
    for rank in range(world):
        read.append([])
        assert sum(len(batch["row"]) for batch in loader(path, rank, world, threads=threads)) >= ROWS // world
    decoded = Counter(one for rank in read for one in rank)
    assert len(decoded) == 41
    assert sum(decoded.values()) <= 41 + 8 + world  # where two lanes meet in a fragment, and what is behind all lanes


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_a_damaged_fragment_of_a_window_is_named_whichever_thread_meets_it(tmp_path: Path, threads: int) -> None:
    file = tmp_path / "t.parquet"
    rows = np.random.default_rng(0).permutation(4000)
    pq.write_table(pa.table({"row": rows}), file, row_group_size=500, compression="none", use_dictionary=False)
    damaged = loader(str(file), threads=threads)
    page = pq.read_metadata(file).row_group(5).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[page : page + 40] = b"\xff" * 40
    file.write_bytes(content)
    with pytest.raises(CorruptError, match="row groups 5 to 5 cannot be read"):
        list(damaged)
