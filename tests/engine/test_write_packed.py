"""Writing packed rows: the same for any number of threads, every token accounted for, refused where rows are single."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tokenizers_made import byte_level_bpe, texts

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import SpecError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("documents")
    rng = np.random.default_rng(5)
    for file in range(3):
        lengths = rng.integers(0, 90, 400)
        docs = [(10_000 * file + np.arange(one)).tolist() for one in lengths]
        table = pa.table({"tokens": pa.array(docs, pa.list_(pa.int32())), "number": range(400)})
        pq.write_table(table, directory / f"{file}.parquet", row_group_size=100)
    return str(directory / "*.parquet")


def token_counts(path, column="tokens"):
    table = fb.scan(path).head(10**9)
    real = np.array(table["segment_ids"].to_pylist()) > 0
    return np.bincount(np.array(table[column].to_pylist())[real])


@pytest.mark.parametrize("method", ["best_fit", "concat"])
def test_every_token_is_written_once_whatever_the_threads(source, tmp_path, method):
    ds = fb.scan(source).filter("number > 20").apply(T.Pack("tokens", 64, method=method))
    made = []
    for threads in (1, 3):
        path = str(tmp_path / f"{threads}")
        report = ds.write(path, threads=threads, unit_bytes=4096)
        made.append([one.read_bytes() for one in sorted((tmp_path / f"{threads}").glob("*.parquet"))])
        joined = report.joined
        assert report.read == 1200 and sum(report.filtered.values()) == 63
        assert joined["documents"] == 1200 - 63 and joined["rows"] == report.written
        assert joined["tokens"] == joined["rows"] * 64 - joined["padding"] and joined["dropped_tokens"] == 0
        again = ds.write(path, threads=threads, unit_bytes=4096)
        assert again.already_done and again.joined == joined
    assert made[0] == made[1] and len(made[0]) > 1
    documents = fb.scan(source).filter("number > 20").head(10**9)["tokens"].combine_chunks().flatten().to_numpy()
    assert np.array_equal(token_counts(str(tmp_path / "1")), np.bincount(documents))


def test_text_to_packed_rows_to_a_loader(tmp_path):
    pytest.importorskip("tokenizers")
    pq.write_table(pa.table({"text": texts(500)}), tmp_path / "texts.parquet")
    tokenizer = byte_level_bpe().to_str()
    ds = fb.scan(str(tmp_path / "texts.parquet")).apply(
        T.Tokenize("text", tokenizer=tokenizer), T.Pack("input_ids", 128, end=0, borders=("position_ids", "labels"))
    )
    assert "Pack  [on the rows of each work unit, in writing]" in ds.explain()
    report = ds.write(str(tmp_path / "packed"), format="arrow")
    rows = 0
    for batch in fb.DataLoader(fb.scan(str(tmp_path / "packed")), batch_size=4, shuffle=True):
        assert batch["input_ids"].shape[1:] == batch["labels"].shape[1:] == (128,)
        rows += len(batch["input_ids"])
    assert rows == report.written


def test_single_rows_are_refused(source):
    ds = fb.scan(source).apply(T.Pack("tokens", 64))
    for use in (len, lambda ds: ds.head(), lambda ds: ds[0], lambda ds: next(iter(fb.DataLoader(ds, batch_size=2)))):
        with pytest.raises(SpecError, match=r"Pack joins the rows of a whole work unit.*fb\.Packed"):
            use(ds)


def test_nothing_may_stand_behind_it(source, tmp_path):
    ds = fb.scan(source).apply(T.Pack("tokens", 64), T.ShiftTokens("tokens"))
    with pytest.raises(SpecError, match="Pack joins .*must come last; ShiftTokens stands behind it"):
        ds.write(str(tmp_path / "out"))
