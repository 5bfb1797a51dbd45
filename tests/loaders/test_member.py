"""A member: lengths of rows, passes over it, and what it refuses."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import SchemaError, SpecError
from forebay.loaders.by_length import ByLength
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.member import Member, pass_number


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    path: Path = tmp_path_factory.mktemp("member")
    table = pa.table(
        {
            "n": pa.array([3, 1, None, 7, 2], pa.int16()),
            "s": ["é", "abc", None, "", "xy"],
            "l": [[1, 2], [], None, [3], [4, 5, 6]],
            "big": pa.array([[1.0], [2.0, 3.0], None, [], [4.0]], pa.large_list(pa.float32())),
            "x": [0.5] * 5,
        }
    )
    pq.write_table(table, path / "t.parquet", row_group_size=2)
    return fb.scan(str(path / "t.parquet"))


@pytest.mark.parametrize(
    ("column", "lengths"),
    [("n", [3, 1, 0, 7, 2]), ("s", [2, 3, 0, 0, 2]), ("l", [2, 0, 0, 1, 3]), ("big", [1, 2, 0, 0, 1])],
)
def test_lengths_of_numbers_text_and_lists(ds: fb.Dataset, column: str, lengths: list[int]) -> None:
    found = Member(ds, FeedSpec()).lengths(ByLength(column))  # of text: bytes; of null: none
    assert found.tolist() == lengths and found.dtype == np.int32


def test_lengths_of_the_rows_that_are_left(ds: fb.Dataset) -> None:
    assert Member(ds.filter("n > 1"), FeedSpec()).lengths(ByLength("l")).tolist() == [2, 1, 3]


def test_a_column_without_a_length_is_named(ds: fb.Dataset) -> None:
    with pytest.raises(SchemaError, match="column 'x' is double; expected lists, text, or whole numbers"):
        Member(ds, FeedSpec()).lengths(ByLength("x"))


def test_readers_of_a_few_passes_are_kept(ds: fb.Dataset) -> None:
    member = Member(ds.select("n"), FeedSpec())
    first = member.store(0)
    assert member.store(0) is first
    for number in range(1, 4):
        member.store(number)
    assert len(member._passes) == 3 and member.store(0) is not first
    member.begin()
    assert not member._passes


def test_passes_have_orders_of_their_own_and_members_seeds() -> None:
    numbers = {pass_number(epoch, lap) for epoch in range(50) for lap in range(50)}
    assert len(numbers) == 2500 and pass_number(7, 0) == 7 and max(numbers) < 2**63


def test_members_have_seeds_of_their_own(ds: fb.Dataset) -> None:
    seeds = {Member(ds, FeedSpec(seed=3), number=number).seed for number in range(4)}
    assert len(seeds) == 4 and 3 in seeds


def test_a_global_shuffle_needs_rows_at_hand(ds: fb.Dataset) -> None:
    with pytest.raises(SpecError, match="shuffle='global' takes any row at any time, which parquet files do not give"):
        Member(ds, FeedSpec(shuffle="global"))


def test_a_window_is_as_large_as_a_files_bytes_allow(ds: fb.Dataset) -> None:
    assert Member(ds, FeedSpec(shuffle="window"))._order_spec.window_rows <= 200_000
    assert Member(ds, FeedSpec(shuffle="window", window_rows=7))._order_spec.window_rows == 7


def test_batch_transforms_do_not_stand_in_the_way_of_lengths(tmp_path: Path) -> None:
    pixels = pa.fixed_shape_tensor(pa.float32(), (1, 2, 2))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(16, np.float32)), 4)
    pq.write_table(
        pa.table({"image": pa.ExtensionArray.from_storage(pixels, storage), "label": [0, 1, 1, 0]}),
        tmp_path / "t.parquet",
    )
    mixed = fb.scan(str(tmp_path / "t.parquet")).apply(T.MixUp(2))
    assert Member(mixed, FeedSpec()).lengths(ByLength("label")).tolist() == [0, 1, 1, 0]
