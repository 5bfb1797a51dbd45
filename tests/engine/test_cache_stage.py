"""A cached data set gives the rows of the uncached one, and computes each fragment once."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.counted_batches import JOURNAL, doubled

from forebay import transforms as T
from forebay.engine.cache_cost import CacheCost
from forebay.engine.dataset import Dataset, scan
from forebay.formats.errors import NotFittedError, SpecError

ROWS = 5_000


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journal"
    path.touch()
    monkeypatch.setenv(JOURNAL, str(path))
    return path


@pytest.fixture
def data(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    table = pa.table({"at": np.arange(ROWS), "x": rng.random(ROWS), "unused": rng.random(ROWS)})
    folder = tmp_path / "data"
    folder.mkdir()
    for part in range(2):
        rows = ROWS // 2
        pq.write_table(table.slice(part * rows, rows), folder / f"{part}.parquet", row_group_size=1_000)
    return str(folder)


def table(dataset: Dataset) -> pa.Table:
    return pa.Table.from_batches(dataset.iter_batches())


def test_gives_the_same_rows_random_ones_too_and_computes_once(data: str, journal: Path, tmp_path: Path) -> None:
    plain = (
        scan(data)
        .apply(T.Standardize(["x"]))
        .fit()
        .map_batches(doubled, version="1")
        .apply(T.GaussianNoise(["x"], std=0.1))
        .select("at", "x")
    )
    wanted = table(plain)
    cached = plain.cache(str(tmp_path / "cache"))
    journal.write_text("")
    assert table(cached).equals(wanted)
    assert len(journal.read_text().split()) == 6
    assert table(cached).equals(wanted) and table(plain.cache(str(tmp_path / "cache"))).equals(wanted)
    assert len(journal.read_text().split()) == 6
    assert "unused" not in cached.source.schema.names


def test_what_comes_after_the_cache_does_not_change_what_is_in_it(data: str, journal: Path, tmp_path: Path) -> None:
    cached = scan(data).map_batches(doubled, version="1").cache(str(tmp_path / "cache"))
    table(cached)
    first = len(journal.read_text().split())
    later = cached.filter("x > 1").apply(T.Log1p(["x"]))
    assert table(later).equals(
        table(scan(data).map_batches(doubled, version="1").filter("x > 1").apply(T.Log1p(["x"])))
    )
    assert len(journal.read_text().split()) == 2 * first  # the uncached one's own


def test_a_changed_version_file_or_state_never_hits_and_a_renamed_directory_does(
    data: str, journal: Path, tmp_path: Path
) -> None:
    def runs(dataset: Dataset) -> int:
        journal.write_text("")
        table(dataset.cache(str(tmp_path / "cache")))
        return len(journal.read_text().split())

    assert runs(scan(data).map_batches(doubled, version="1")) == 6
    assert runs(scan(data).map_batches(doubled, version="2")) == 6
    moved = shutil.move(data, str(tmp_path / "moved"))
    assert runs(scan(moved).map_batches(doubled, version="1")) == 0
    path = Path(moved, "1.parquet")
    pq.write_table(pq.read_table(path).slice(1), path, row_group_size=1_000)
    assert runs(scan(moved).map_batches(doubled, version="1")) == 3
    assert runs(scan(moved).apply(T.Standardize(["x"])).fit().map_batches(doubled, version="1")) == 6


def test_filters_before_the_cache_leave_rows_that_are_counted_without_it(data: str, tmp_path: Path) -> None:
    plain = scan(data).filter("x > 0.5")
    cached = plain.cache(str(tmp_path / "cache"))
    assert len(cached) == len(plain)
    assert table(cached).equals(table(plain))
    assert cached.take(np.array([5, 0, 77])).to_pylist() == plain.take(np.array([5, 0, 77])).to_pylist()


def test_rows_are_taken_anywhere_where_all_fit_and_fragment_by_fragment_where_not(data: str, tmp_path: Path) -> None:
    assert scan(data).cache(str(tmp_path / "large")).source.random_access
    small = scan(data).cache(str(tmp_path / "small"), limit=40_000)
    assert not small.source.random_access
    assert table(small).equals(table(scan(data)))
    small.source.cache.close()
    units = list(Path(tmp_path, "small").rglob("*.unit"))
    assert 0 < len(units) < 6 and sum(one.stat().st_size for one in units) <= 40_000


def test_a_known_order_is_used_when_not_all_fit(data: str, tmp_path: Path) -> None:
    small = scan(data).cache(str(tmp_path / "small"), limit=80_000)
    source = small.source
    source.expect([*range(6), *range(6), *range(6)])
    for ordinal in [*range(6)] * 3:
        assert source.unit(ordinal).num_rows == source.fragments()[ordinal].rows
    assert source.cache.counts.hits > 0  # least recently used would have thrown each out before its turn


def test_goes_to_another_process_without_its_locks(data: str, tmp_path: Path) -> None:
    cached = scan(data).cache(str(tmp_path / "cache"))
    wanted = table(cached)
    assert table(pickle.loads(pickle.dumps(cached))).equals(wanted)


def test_explain_says_where_the_cache_stands_and_what_it_holds(data: str, tmp_path: Path) -> None:
    cached = scan(data).apply(T.Log1p(["x"]), T.GaussianNoise(["x"], std=0.1)).cache(str(tmp_path / "c"), limit="1GB")
    text = cached.explain()
    assert f"cache    {tmp_path}/c, at most 1.0 GB, 0 of 6 units there; holds: Log1p" in text
    table(cached)
    assert "6 of 6 units there" in cached.explain()


def test_explain_measures_what_a_cache_would_save(data: str, tmp_path: Path) -> None:
    plain = scan(data).apply(T.Log1p(["x"]), T.GaussianNoise(["x"], std=0.1)).select("at", "x")
    (line,) = [one for one in plain.explain(sample=500).splitlines() if one.startswith("cache")]
    assert re.match(
        r"cache    none; .cache\(\) would hold 16 bytes a row, 0.00 GB in all: [\d.]+ µs a row to compute, [\d.]+ µs to read, on "
        r"500 rows: it (pays from the second epoch on|does not pay)$",
        line,
    )
    assert not any(one.startswith("cache") for one in plain.explain().splitlines())
    nothing_before = scan(data).apply(T.GaussianNoise(["x"], std=0.1))
    assert not any(one.startswith("cache") for one in nothing_before.explain(sample=500).splitlines())


@pytest.mark.parametrize(("computed", "pays"), [(3e-6, True), (1e-6, False)])
def test_a_cache_is_advised_where_computing_costs_more_than_reading(computed: float, pays: bool) -> None:
    cost = CacheCost(computed=computed, read=1e-6, row_bytes=100.0, rows=10)
    assert cost.pays is pays
    assert ("it does not pay" in cost.describe(None)) is not pays


def test_what_has_not_learned_cannot_be_cached(data: str, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match=r"Standardize .* before what they give can be cached"):
        scan(data).apply(T.Standardize(["x"])).cache(str(tmp_path))


def test_a_cached_data_set_is_not_sent_to_other_machines(data: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="write it first, or leave .cache"):
        scan(data).cache(str(tmp_path)).source.to_json()
