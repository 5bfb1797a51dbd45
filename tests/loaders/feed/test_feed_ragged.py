"""Columns of lists through the loader: padded, packed, by length; the same rows for any number of threads."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from support import lists

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import SchemaError, SpecError, UnknownNameError

ROWS = 1500


@pytest.fixture(scope="module", params=["arrow", "parquet"])
def ds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    return lists.token_set(tmp_path_factory.mktemp("ragged"), rows=ROWS, format=request.param)


@pytest.fixture(scope="module")
def oracle() -> list[list[int]]:
    return lists.token_table(ROWS).column("tokens").to_pylist()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("pad", [1, 8, fb.Pad(-1, multiple=4, side="left", mask="attention_mask")])
def test_each_batch_is_padded_to_its_own_longest_row(
    ds: fb.Dataset, oracle: list[list[int]], shuffle: bool, threads: int, pad: Any
) -> None:
    multiple, left = (pad, False) if isinstance(pad, int) else (pad.multiple, True)
    seen = []
    for batch in fb.DataLoader(ds, 64, shuffle, num_workers=threads, pad=pad, window_rows=300):
        rows = [oracle[row] for row in batch["row"].tolist()]
        seen += batch["row"].tolist()
        lengths = torch.tensor([len(row) for row in rows])
        longest = -(-int(lengths.max()) // multiple) * multiple
        assert batch["tokens"].shape == batch["weights"].shape == (len(rows), longest)
        assert torch.equal(batch["tokens_length"], lengths) and torch.equal(batch["weights_length"], lengths)
        for row, found in zip(rows, batch["tokens"].tolist(), strict=True):
            assert row == (found[longest - len(row) :] if left else found[: len(row)])
        if left:
            assert batch["attention_mask"].sum() == lengths.sum()
            assert (batch["tokens"][batch["attention_mask"] == 0] == -1).all()
    assert sorted(seen) == list(range(ROWS))


def test_packed_rows_lie_behind_one_another(ds: fb.Dataset, oracle: list[list[int]]) -> None:
    tokens = ds.select("row", "tokens")
    for batch in fb.DataLoader(tokens, 64, True, pad=fb.Packed("tokens"), num_workers=2, window_rows=300):
        starts, flat = batch["cu_seq_lens_q"].tolist(), batch["input_ids"][0].tolist()
        for row, first, stop in zip(batch["row"].tolist(), starts[:-1], starts[1:], strict=True):
            assert flat[first:stop] == oracle[row]
        assert batch["max_length_q"] == max(len(oracle[row]) for row in batch["row"].tolist())
        assert "tokens" not in batch


def test_packed_columns_can_be_chosen(ds: fb.Dataset) -> None:
    pairs = fb.DataLoader(ds.select("tokens"), 8, pad=fb.Packed("tokens"), columns=("input_ids", "labels"))
    ids, labels = next(iter(pairs))
    assert ids.shape == labels.shape
    padded = fb.DataLoader(ds.select("tokens"), 8, columns=("tokens", "tokens_length"))
    assert len(next(iter(padded))) == 2
    with pytest.raises(UnknownNameError, match="column 'input_id'.*did you mean input_ids"):
        fb.DataLoader(ds.select("tokens"), 8, pad=fb.Packed("tokens"), columns=("input_id",))


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("column", ["length", "tokens"])
def test_a_budget_of_tokens_holds_for_padded_batches(
    ds: fb.Dataset, oracle: list[list[int]], threads: int, column: str
) -> None:
    by = fb.ByLength(column, tokens=500, window_rows=512)
    loader = fb.DataLoader(ds, shuffle=True, num_workers=threads, batching=by, window_rows=1024, lanes=2)
    batches = list(loader)
    assert len(loader) == len(batches) and sorted(torch.cat([one["row"] for one in batches]).tolist()) == list(
        range(ROWS)
    )
    assert all(batch["tokens"].numel() <= 500 for batch in batches)
    for batch in batches:
        rows = [oracle[row] for row in batch["row"].tolist()]
        assert [
            row[:length] for row, length in zip(batch["tokens"].tolist(), batch["tokens_length"], strict=True)
        ] == rows
    real = sum(int(batch["tokens_length"].sum()) for batch in batches)
    assert real > 0.9 * sum(batch["tokens"].numel() for batch in batches)


def test_batches_by_length_do_not_depend_on_threads_or_on_what_tells_the_length(ds: fb.Dataset) -> None:
    def rows(column: str, threads: int) -> list[list[int]]:
        by = fb.ByLength(column, window_rows=256)
        loader = fb.DataLoader(ds, 32, True, seed=1, num_workers=threads, batching=by, window_rows=300)
        return [batch["row"].tolist() for batch in loader]

    assert rows("length", 0) == rows("tokens", 3)


def test_padding_of_kept_batches_is_never_overwritten(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds, 32, True, num_workers=2, window_rows=300)
    kept = [(batch["tokens"], batch["tokens"].clone()) for _ in range(2) for batch in loader]
    assert all(torch.equal(one, copy) for one, copy in kept)


def test_lists_in_a_filtered_data_set(ds: fb.Dataset, oracle: list[list[int]]) -> None:
    long = ds.filter("length > 35")
    found = list(fb.DataLoader(long, 16, True, batching=fb.ByLength("tokens"), window_rows=300))
    rows = torch.cat([one["row"] for one in found]).tolist()
    assert sorted(rows) == [row for row, tokens in enumerate(oracle) if len(tokens) > 35]


def test_a_column_that_padding_would_hide_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pa.table({"t": [[1], [2, 3]], "t_length": [5, 6]})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match="column 't_length' is in the data, and laying out the lists .t. adds one"):
        next(iter(fb.DataLoader(fb.scan(str(tmp_path / "t.parquet")), 2)))


def test_what_cannot_be_asked_is_said(ds: fb.Dataset) -> None:
    with pytest.raises(SpecError, match=r"batching is 8; expected fb.ByLength"):
        fb.DataLoader(ds, 2, batching=8)
    with pytest.raises(SpecError, match="pad is 'longest'; expected a multiple"):
        fb.DataLoader(ds, 2, pad="longest")
    with pytest.raises(SpecError, match="multiple is 0"):
        fb.DataLoader(ds, 2, pad=0)
    with pytest.raises(SpecError, match="columns is 'row'; expected several names"):
        fb.DataLoader(ds, 2, columns="row")
    with pytest.raises(UnknownNameError, match="column 'lengths'.*ByLength.*did you mean length"):
        next(iter(fb.DataLoader(ds, 2, batching=fb.ByLength("lengths"))))
    with pytest.raises(SchemaError, match="ByLength: column 'length' is float; expected lists, text, or whole numbers"):
        floats = ds.apply(T.Cast(["length"], "float32"))
        next(iter(fb.DataLoader(floats, 2, batching=fb.ByLength("length"))))
    with pytest.raises(SpecError, match="window_rows is 1"):
        fb.ByLength("length", window_rows=1)
    with pytest.raises(SpecError, match="tokens is 0"):
        fb.ByLength("length", tokens=0)
    with pytest.raises(SpecError, match="cannot sort those of a mixture"):
        fb.DataLoader(fb.mix({ds: 1}), 2, batching=fb.ByLength("length"))
