"""A cache where it pays: what is measured decides whether there is one, and `explain` says why."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forebay import transforms as T
from forebay.engine import cache_cost
from forebay.engine.cache_stage import CachedSource
from forebay.engine.dataset import Dataset, scan
from forebay.formats.errors import NotFittedError, SpecError


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    pq.write_table(
        pa.table({"x": rng.random(2_000), "y": rng.random(2_000)}), tmp_path / "x.parquet", row_group_size=500
    )
    return scan(str(tmp_path / "x.parquet"))


@pytest.fixture
def paying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_cost, "WORTH", 0.0)


def line(dataset: Dataset) -> str:
    return next(one for one in dataset.explain().splitlines() if "where it pays" in one)


def test_what_pays_is_cached_and_explained(data: Dataset, tmp_path: Path, paying: None) -> None:
    plain = data.apply(T.Log1p(["x"]), T.GaussianNoise(["x"], std=0.1))
    cached = plain.cache(str(tmp_path / "cache"), when="pays")
    assert isinstance(cached.source, CachedSource) and line(cached).endswith("on 256 rows: it pays")
    assert "0 of 4 units there; holds: Log1p" in cached.explain()
    for _ in range(2):
        assert pa.Table.from_batches(cached).equals(pa.Table.from_batches(plain))


def test_it_stands_before_the_first_filter_so_that_rows_keep_their_numbers(
    data: Dataset, tmp_path: Path, paying: None
) -> None:
    plain = data.apply(T.Log1p(["x"])).filter("y > 0.5").apply(T.Log1p(["y"]), T.GaussianNoise(["x"], std=0.1))
    cached = plain.cache(str(tmp_path / "cache"), when="pays")
    assert cached.source.prefix.transforms[0] == T.Log1p(["x"])  # type: ignore[attr-defined]  # a cached source
    assert len(cached) == len(plain) and not list(tmp_path.rglob("*.unit"))  # counting rows computes no unit
    assert pa.Table.from_batches(cached).equals(pa.Table.from_batches(plain))


def test_where_nothing_can_be_kept_it_says_so(data: Dataset, tmp_path: Path, paying: None) -> None:
    noisy = data.apply(T.GaussianNoise(["x"], std=0.1)).cache(str(tmp_path / "cache"), when="pays")
    assert line(noisy) == "cache    where it pays: nothing stands before the first random transform or filter"


def test_rows_that_are_taken_anywhere_must_all_fit(data: Dataset, tmp_path: Path, paying: None) -> None:
    data.write(str(tmp_path / "arrow"), format="arrow")
    mapped = scan(str(tmp_path / "arrow")).apply(T.Log1p(["x"]))
    small = mapped.cache(str(tmp_path / "cache"), limit=10_000, when="pays")
    assert not isinstance(small.source, CachedSource) and "do not fit into 0.0 GB" in line(small)
    large = mapped.cache(str(tmp_path / "cache"), when="pays")
    assert isinstance(large.source, CachedSource) and large.source.random_access


def test_wrong_questions_are_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="when is 'perhaps'; expected 'always' or 'pays'"):
        data.cache(str(tmp_path), when="perhaps")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="holds='shards' keeps bytes; leave one of them out"):
        data.cache(str(tmp_path), holds="shards", when="pays")
    with pytest.raises(NotFittedError, match=r"Standardize .* before what they give can be cached"):
        data.apply(T.Standardize(["x"])).cache(str(tmp_path), when="pays")
