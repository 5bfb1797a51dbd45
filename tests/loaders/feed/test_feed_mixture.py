"""Mixtures through the loader: exact proportions, each member shuffled by itself, members that begin again."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import SchemaError


def member(directory: Path, name: str, rows: int, first: int, format: str) -> fb.Dataset:
    table = pa.table({"row": pa.array(range(first, first + rows)), "x": pa.array([0.0] * rows, pa.float32())})
    pq.write_table(table, directory / f"{name}.parquet", row_group_size=50)
    fb.scan(str(directory / f"{name}.parquet")).write(str(directory / name), format=format, max_rows=90)
    return fb.scan(str(directory / name))


@pytest.fixture(scope="module", params=[("arrow", "arrow"), ("parquet", "arrow")], ids=["arrow", "parquet and arrow"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[fb.Dataset, fb.Dataset]:
    base = tmp_path_factory.mktemp("mix")
    formats = request.param
    return member(base, "a", 300, 0, formats[0]), member(base, "b", 60, 1000, formats[1])


def rows_of(loader: Any) -> list[int]:
    return [row for batch in loader for row in batch["row"].tolist()]


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_epoch_ends_with_the_first_member_that_has_given_all(
    pair: tuple[fb.Dataset, fb.Dataset], threads: int, shuffle: bool
) -> None:
    a, b = pair
    mixed = fb.mix({a: 0.7, b: 0.3})
    loader = fb.DataLoader(mixed, 20, shuffle, num_workers=threads, window_rows=100)
    rows = rows_of(loader)
    assert len(set(rows)) == len(rows) == len(mixed) and set(range(1000, 1060)) <= set(rows)
    for start in range(0, 190, 10):
        assert sum(row >= 1000 for row in rows[start : start + 10]) == 3
    if not shuffle:
        assert [row for row in rows if row < 1000] == list(range(len(mixed) - 60))


def test_with_all_small_members_begin_again_in_another_order(pair: tuple[fb.Dataset, fb.Dataset]) -> None:
    a, b = pair
    loader = fb.DataLoader(fb.mix({a: 0.5, b: 0.5}, stop="all"), 20, True, num_workers=2, window_rows=100)
    rows = rows_of(loader)
    assert len(rows) == 600
    assert sorted(row for row in rows if row < 1000) == list(range(300))
    small = [row for row in rows if row >= 1000]
    laps = [small[start : start + 60] for start in range(0, 300, 60)]
    assert all(sorted(lap) == list(range(1000, 1060)) for lap in laps)
    assert len({tuple(lap) for lap in laps}) == 5


def test_never_goes_on_and_has_no_length(pair: tuple[fb.Dataset, fb.Dataset]) -> None:
    a, b = pair
    loader = fb.DataLoader(fb.mix({a: 2, b: 1}, stop="never"), 30, True, num_workers=1, window_rows=100)
    with pytest.raises(TypeError, match="has no length"):
        len(loader)
    seen: Counter[int] = Counter()
    for _, batch in zip(range(100), loader, strict=False):
        seen.update(batch["row"].tolist())
    assert sum(count for row, count in seen.items() if row >= 1000) == 1000
    assert {count for row, count in seen.items() if row < 1000} <= {6, 7}


def test_order_does_not_depend_on_threads_or_batch_size(pair: tuple[fb.Dataset, fb.Dataset]) -> None:
    a, b = pair
    mixed = fb.mix({a: 0.5, b: 0.5}, stop="all")
    one = rows_of(fb.DataLoader(mixed, 7, True, seed=3, window_rows=100))
    assert one == rows_of(fb.DataLoader(mixed, 64, True, seed=3, num_workers=3, window_rows=100))
    assert one != rows_of(fb.DataLoader(mixed, 7, True, seed=4, window_rows=100))


def test_equal_ids_of_two_members_draw_different_numbers(pair: tuple[fb.Dataset, fb.Dataset]) -> None:
    a, b = (one.apply(T.GaussianNoise(["x"], std=1.0)) for one in pair)
    drawn = {
        row: x
        for batch in fb.DataLoader(fb.mix({a: 1, b: 1}), 10)
        for row, x in zip(*(one.tolist() for one in (batch["row"], batch["x"])), strict=True)
    }
    assert drawn[0] != drawn[1000] and drawn[5] != drawn[1005]


def test_it_is_shared_among_ranks(pair: tuple[fb.Dataset, fb.Dataset]) -> None:
    a, b = pair
    mixed = fb.mix({a: 0.5, b: 0.5}, stop="all")
    ranks = [
        rows_of(fb.DataLoader(mixed, 16, True, rank=rank, world_size=3, window_rows=100, num_workers=1))
        for rank in range(3)
    ]
    whole = Counter(rows_of(fb.DataLoader(mixed, 16, True, window_rows=100)))
    assert Counter(row for one in ranks for row in one) - whole == Counter() and sum(map(len, ranks)) == 600


def test_columns_and_pairs(pair: tuple[fb.Dataset, fb.Dataset]) -> None:
    a, b = pair
    x, row = next(iter(fb.DataLoader(fb.mix({a: 1, b: 1}), 4, columns=["x", "row"])))
    assert x.dtype == torch.float32 and row.tolist() == [1000, 0, 1001, 1]


def images(directory: Path) -> fb.Dataset:
    pixels = pa.fixed_shape_tensor(pa.float32(), (1, 2, 2))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(range(32), pa.float32()), 4)
    table = pa.table({"image": pa.ExtensionArray.from_storage(pixels, storage), "label": [0, 1] * 4})
    pq.write_table(table, directory / "images.parquet")
    return fb.scan(str(directory / "images.parquet"))


def test_members_with_other_batch_transforms_are_refused(tmp_path: Path) -> None:
    data = images(tmp_path)
    mixed = fb.mix({data.apply(T.MixUp(2)): 1, data.apply(T.CutMix(2)): 1})
    with pytest.raises(SchemaError, match="end in different transforms of batches .*give each the same"):
        next(iter(fb.DataLoader(mixed, 4)))
