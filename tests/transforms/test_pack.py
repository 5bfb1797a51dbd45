"""Pack beside plain Python, and what it promises: every token once, documents whole where they fit."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay import transforms as T
from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.pack_plan import best_fit

BORDERS = ("segment_ids", "position_ids", "labels", "cu_seqlens")
PAD, END = -1, -2
LENGTHS = st.lists(st.integers(0, 40), max_size=60)


def documents(lengths):
    """Documents in which no token occurs twice."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return [list(range(end - size, end)) for end, size in zip(ends.tolist(), lengths, strict=True)]


def packed(spec, docs, batch=7):
    """(rows as dicts, counts) of documents that come in batches."""
    column = pa.array(docs, pa.list_(pa.int64()))
    whole = pa.RecordBatch.from_arrays([column], ["tokens"])
    joiner = spec.joiner(whole.schema)
    made = []
    for start in range(0, len(docs), batch):
        made += joiner.add(whole.slice(start, batch))
    made += joiner.finish()
    assert all(one.schema == spec.output_schema(whole.schema) for one in made)
    return [row for one in made for row in one.to_pylist()], joiner.counts()


def segments_of(row):
    """The segments of a row, after all four ways to tell them apart have agreed."""
    found = []
    for number in range(1, max(row["segment_ids"], default=0) + 1):
        at = [k for k, one in enumerate(row["segment_ids"]) if one == number]
        assert at == list(range(at[0], at[-1] + 1))
        assert [row["position_ids"][k] for k in at] == list(range(len(at)))
        tokens = [row["tokens"][k] for k in at]
        assert [row["labels"][k] for k in at] == [-100, *tokens[1:]]
        found.append((at[0], tokens))
    filled = sum(len(tokens) for _, tokens in found)
    assert row["tokens"][filled:] == [PAD] * (len(row["tokens"]) - filled)
    assert set(row["segment_ids"][filled:]) <= {0} and set(row["labels"][filled:]) <= {-100}
    starts = [start for start, _ in found]
    padding = [filled] if filled < len(row["tokens"]) else []
    assert row["cu_seqlens"] == [*starts, *padding, len(row["tokens"])]
    return [tokens for _, tokens in found]


def check_counts(counts, rows, docs, length):
    assert counts["documents"] == len(docs) and counts["rows"] == len(rows)
    assert counts["empty_documents"] == sum(not one for one in docs)
    assert counts["tokens"] == sum(map(len, docs))
    put = counts["rows"] * length - counts["padding"]
    assert counts["tokens"] + counts["end_tokens"] == put + counts["dropped_tokens"]


@given(LENGTHS, st.integers(2, 25), st.integers(1, 20), st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_best_fit_has_every_token_once_and_cuts_only_what_is_longer_than_a_row(lengths, length, window, batch):
    docs = documents(lengths)
    spec = T.Pack("tokens", length, borders=BORDERS, pad=PAD, window=window)
    rows, counts = packed(spec, docs, batch)
    segments = [one for row in rows for one in segments_of(row)]
    whole = Counter(tuple(one[k : k + length]) for one in docs for k in range(0, len(one), length))
    assert Counter(map(tuple, segments)) == whole
    check_counts(counts, rows, docs, length)
    assert counts["dropped_tokens"] == 0


@given(LENGTHS, st.integers(2, 25), st.integers(1, 30), st.booleans(), st.sampled_from(["pad", "drop"]))
@settings(max_examples=150, deadline=None)
def test_concat_is_the_stream_of_all_documents_cut_into_rows(lengths, length, batch, ended, remainder):
    docs = documents(lengths)
    spec = T.Pack(
        "tokens", length, method="concat", borders=BORDERS, pad=PAD, end=END if ended else None, remainder=remainder
    )
    rows, counts = packed(spec, docs, batch)
    full = [[*one, END] if ended else one for one in docs if one]
    stream = [token for one in full for token in one]
    starts = {at for at, (token, one) in enumerate((token, one) for one in full for token in one) if token == one[0]}
    wanted = [stream[at : at + length] for at in range(0, len(stream), length)]
    if remainder == "drop" and wanted and len(wanted[-1]) < length:
        assert counts["dropped_tokens"] == len(wanted.pop())
    got = [[token for one in segments_of(row) for token in one] for row in rows]
    assert got == wanted
    begun = {
        number * length + at
        for number, row in enumerate(rows)
        for at in range(length)
        if row["segment_ids"][at] and row["position_ids"][at] == 0
    }
    assert begun == {at for at in starts if at < len(got) * length} | {number * length for number in range(len(got))}
    check_counts(counts, rows, docs, length)
    assert counts["end_tokens"] == ended * len(full)


def slow_best_fit(lengths, size):
    """Best-fit decreasing in plain Python: rows that a list of lengths needs."""
    room = []
    for one in sorted(lengths, reverse=True):
        fits = [k for k, left in enumerate(room) if left >= one]
        if not fits:
            room.append(size)
            fits = [len(room) - 1]
        room[min(fits, key=lambda k: room[k])] -= one
    return sorted(size - left for left in room)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=80))
@settings(max_examples=150, deadline=None)
def test_rows_are_as_full_as_those_of_best_fit_decreasing_by_hand(lengths):
    pieces = best_fit(np.array(lengths), 200)
    filled = np.bincount(pieces[:, 2], weights=pieces[:, 1]).astype(int)
    assert sorted(filled.tolist()) == slow_best_fit(lengths, 200)
    order = [pieces[pieces[:, 2] == row, 0].min() for row in range(len(filled))]
    assert order == sorted(order)  # rows come in the order of their first documents


def test_best_fit_wastes_little():
    lengths = np.random.default_rng(3).lognormal(5.5, 1.0, 5000).astype(int) + 1
    pieces = best_fit(lengths, 2048)
    rows = pieces[:, 2].max() + 1
    assert lengths.sum() / (rows * 2048) > 0.99


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("method", ["best_fit", "concat"])
def test_tokens_keep_their_type_and_a_null_document_is_an_empty_one(kind, method):
    column = pa.array([[1, 2, 3], None, [], [4], [5, 6]], pa.list_(pa.type_for_alias(kind)))
    batch = pa.RecordBatch.from_arrays([column], ["tokens"])
    joiner = T.Pack("tokens", 3, method=method).joiner(batch.schema)
    made = pa.Table.from_batches([*joiner.add(batch), *joiner.finish()])
    assert made.schema.field("tokens").type == pa.list_(pa.type_for_alias(kind), 3)
    assert made["tokens"].to_pylist() == [[1, 2, 3], [4, 5, 6]]
    assert joiner.counts()["empty_documents"] == 2


def test_rows_of_packed_tokens_can_be_shifted():
    schema = T.Pack("tokens", 9, borders=()).output_schema(pa.schema([("tokens", pa.list_(pa.uint16()))]))
    assert T.ShiftTokens("tokens").output_schema(schema).names == ["input_ids", "labels"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"length": 1}, "length is 1; expected a whole number of at least 2"),
        ({"window": 0}, "window is 0"),
        ({"method": "first"}, "method is 'first'"),
        ({"borders": ("mask",)}, "borders is .*expected names of segment_ids"),
        ({"remainder": "drop"}, "is for method='concat'"),
        ({"column": "labels", "borders": ("labels",)}, "both called 'labels'"),
    ],
)
def test_wrong_specs_are_refused(given, message):
    with pytest.raises(SpecError, match=message):
        T.Pack(**{"column": "tokens", "length": 8, **given})


def test_schemas_it_cannot_take_are_refused():
    with pytest.raises(SchemaError, match="column 'tokens' is string; expected lists of tokens"):
        T.Pack("tokens", 8).output_schema(pa.schema([("tokens", pa.string())]))
    with pytest.raises(SchemaError, match="end is 300, which does not fit"):
        T.Pack("tokens", 8, end=300).output_schema(pa.schema([("tokens", pa.list_(pa.uint8()))]))
    with pytest.raises(SpecError, match=r"runs in \.write\(\) alone"):
        T.Pack("tokens", 8).bind(pa.schema([("tokens", pa.list_(pa.uint8()))]), None, 0)
