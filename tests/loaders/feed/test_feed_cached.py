"""Cached data sets in the loader: read like memory-mapped Arrow, each sample as without the cache."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.photographs import jpegs

import forebay as fb
from forebay import transforms as T
from forebay.engine import cache_backlog, cache_cost, cache_stage
from forebay.engine.cache_stage import CachedSource
from forebay.engine.fingerprint import fingerprint
from forebay.engine.gather import Gatherer

COUNT = 150


@pytest.fixture
def images(tmp_path: Path) -> str:
    """A folder of photographs, whose fragments are of 64 files."""
    for at, one in enumerate(jpegs(COUNT)):
        path = tmp_path / "images" / f"class{at % 3}" / f"{at:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one)
    return str(tmp_path / "images")


def by_path(loader: fb.DataLoader) -> dict[str, tuple[bytes, int]]:
    found = {}
    for batch in loader:
        for name, image, label in zip(batch["path"], batch["image"].numpy(), batch["label"].tolist(), strict=True):
            found[name] = (image.tobytes(), label)
    return found


@pytest.mark.parametrize("sized", [False, True])
def test_cached_images_are_those_computed_anew_in_an_order_that_is_global(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sized: bool
) -> None:
    front = [T.DecodeImage(), T.Resize(72), *([T.CenterCrop(72)] if sized else [])]
    plain = fb.scan(images).apply(*front, T.RandomCrop(64), T.HorizontalFlip(), T.NormalizeImage())
    cached = plain.cache(str(tmp_path / "cache"))
    settings = {"batch_size": 16, "seed": 3, "num_workers": 2}
    wanted = by_path(fb.DataLoader(plain, shuffle="window", **settings))
    loader = fb.DataLoader(cached, shuffle="global", **settings)
    taken, take = [], Gatherer.take

    def noted(self: Gatherer, slots: np.ndarray, rows: np.ndarray, columns: object = None) -> pa.RecordBatch:
        made = take(self, slots, rows, columns)
        taken.append(made.schema.names)
        return made

    monkeypatch.setattr(Gatherer, "take", noted)
    assert by_path(loader) == wanted and len(wanted) == COUNT
    assert taken and all("image" not in names for names in taken)  # no pixel is copied on the way to the batch
    assert by_path(loader) != wanted  # the next epoch crops elsewhere


BACK = (T.RandomCrop(64), T.HorizontalFlip(), T.NormalizeImage())
TAKEN = {"batch_size": 4, "shuffle": "global", "seed": 3, "num_workers": 2}


def test_a_row_is_looked_at_when_it_is_taken_and_what_nobody_takes_is_not(images: str, tmp_path: Path) -> None:
    fill = fb.scan(images).apply(T.DecodeImage(), T.Resize(200), T.CenterCrop(200), *BACK).cache(str(tmp_path / "c"))
    list(fill)
    fill.source.cache.close()
    opened = fb.scan(images).apply(T.DecodeImage(), T.Resize(200), T.CenterCrop(200), *BACK).cache(str(tmp_path / "c"))
    loader = fb.DataLoader(opened, **TAKEN)
    loader._made()._batches_a_chunk = 1  # type: ignore[attr-defined]  # else all of so little is taken at once
    next(iter(loader))
    guards = loader._made().members[0]._files._opened.guards  # type: ignore[attr-defined,union-attr]  # what is left to look at
    assert len(guards) == 3 and not any(one.done for one in guards.values())
    assert (
        sum(sum(one._check._right) for one in guards.values()) < sum(one._check.blocks for one in guards.values()) // 2
    )
    assert sum(len(batch["label"]) for batch in loader) == COUNT
    assert not guards  # all was taken


@pytest.mark.parametrize("kept", ["sized", "ragged"])
def test_flipped_bits_of_rows_are_found_when_these_are_taken_and_mended(images: str, tmp_path: Path, kept: str) -> None:
    front = [T.DecodeImage(), T.Resize(200), *([T.CenterCrop(200)] if kept == "sized" else [])]
    plain = fb.scan(images).apply(*front, *BACK)
    whole = plain.cache(str(tmp_path / "cache"))
    wanted = by_path(fb.DataLoader(whole, **TAKEN))
    whole.source.cache.close()
    for at, unit in enumerate(sorted((tmp_path / "cache").rglob("*.unit"))):
        with open(unit, "r+b") as file:
            file.seek((1 << 20) + 300_001 * (at + 1))
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 4]))
    opened = plain.cache(str(tmp_path / "cache"))
    with pytest.warns(RuntimeWarning, match="dropped and built anew") as seen:
        assert by_path(fb.DataLoader(opened, **TAKEN)) == wanted
    assert len(seen) == 3 and opened.source.cache.counts.bad == 3
    opened.source.cache.close()
    assert (
        by_path(fb.DataLoader(plain.cache(str(tmp_path / "cache")), **TAKEN)) == wanted
    )  # a warning would be an error


UNITS, ROWS, EPOCHS = 24, 400, 4


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    """A Parquet file of as many row groups as there will be units, all of a size."""
    table = pa.table({"at": np.arange(UNITS * ROWS), "x": np.random.default_rng(0).random(UNITS * ROWS)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=ROWS)
    return str(tmp_path / "x.parquet")


def half_cached(path: str, directory: Path) -> fb.Dataset:
    """With room for half of the units."""
    plain = fb.scan(path).apply(T.Log1p(["x"]))
    whole = plain.cache(str(directory / "whole"))
    list(whole)
    whole.source.cache.close()  # units are brought to the disk behind whoever reads them
    sizes = [one.stat().st_size for one in (directory / "whole").rglob("*.unit")]
    return plain.cache(str(directory / "half"), limit=sum(sizes) // 2)


def loader_over(dataset: fb.Dataset) -> fb.DataLoader:
    return fb.DataLoader(dataset, batch_size=100, shuffle="window", window_rows=ROWS, lanes=1, num_workers=0, seed=5)


def hits(dataset: fb.Dataset) -> int:
    """Hits of all epochs behind the first."""
    loader = loader_over(dataset)
    for epoch in range(EPOCHS):
        assert sorted(at for batch in loader for at in batch["at"].tolist()) == list(range(UNITS * ROWS))
        if epoch == 0:
            before = dataset.source.cache.counts.hits
    return dataset.source.cache.counts.hits - before


def test_the_order_of_the_loader_decides_what_a_small_cache_keeps(
    numbers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_backlog, "LIMIT_UNITS", 1)  # else so small a data set would be on its way all the time
    known = hits(half_cached(numbers, tmp_path / "known"))
    monkeypatch.setattr(CachedSource, "expect", lambda self, ordinals: None)
    recent = hits(half_cached(numbers, tmp_path / "recent"))
    assert known > 1.2 * recent


def test_a_resumed_epoch_tells_a_small_cache_only_what_is_left(numbers: str, tmp_path: Path) -> None:
    first = loader_over(half_cached(numbers, tmp_path))
    batches = iter(first)
    for _ in range(UNITS * ROWS // 100 // 2):
        next(batches)
    state = first.state_dict()
    dataset = half_cached(numbers, tmp_path)
    told: list[list[int]] = []
    dataset.source.expect = lambda ordinals: told.append(list(ordinals))  # type: ignore[method-assign]  # noted
    rest = loader_over(dataset)
    rest.load_state_dict(state)
    next(iter(rest))
    assert UNITS + UNITS // 2 <= len(told[0]) <= UNITS + UNITS // 2 + 2


def trail(loader: fb.DataLoader, batches: int | None = None) -> list[tuple[list[int], list[float]]]:
    """(ids, values) of the next batches."""
    found = []
    for batch in loader:
        found.append((batch["at"].tolist(), batch["x"].tolist()))
        if len(found) == batches:
            break
    return found


def test_a_cache_where_it_pays_changes_neither_order_nor_numbers_nor_states(
    numbers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fb.scan(numbers).apply(T.Log1p(["x"]), T.GaussianNoise(["x"], std=0.1)).filter("at % 3 > 0")
    monkeypatch.setattr(cache_cost, "WORTH", 0.0)  # it always pays, whatever the clock says
    cached = plain.cache(str(tmp_path / "cache"), when="pays")
    assert isinstance(cached.source, CachedSource) and not cached.source.random_access
    assert cached.fingerprint == plain.fingerprint
    settings = {"batch_size": 64, "shuffle": True, "window_rows": 1_000, "seed": 7, "num_workers": 2}
    one, other = fb.DataLoader(plain, **settings), fb.DataLoader(cached, **settings)
    for _ in range(2):  # filling it, and from it
        assert trail(one) == trail(other)
    assert cached.source.cache.counts.hits > 0
    begun = fb.DataLoader(plain, **settings)
    batches = iter(begun)
    for _ in range(10):
        next(batches)
    resumed = fb.DataLoader(cached, **settings)
    resumed.load_state_dict(begun.state_dict())
    first = [(batch["at"].tolist(), batch["x"].tolist()) for batch in batches]
    assert trail(resumed) == first


def test_what_does_not_pay_is_not_cached(numbers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fb.scan(numbers).apply(T.Log1p(["x"]))
    monkeypatch.setattr(cache_cost, "WORTH", 1e9)
    same = plain.cache(str(tmp_path / "cache"), when="pays").apply(T.GaussianNoise(["x"], std=0.1))
    assert same.source is plain.source and not (tmp_path / "cache").exists()
    assert "cache    where it pays: " in same.explain() and "on 256 rows: it does not pay" in same.explain()


def test_keys_hash_the_list_of_a_folders_images_once(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fb.scan(images).apply(T.DecodeImage()).cache(str(tmp_path / "cache")).source
    hashed: list[object] = []
    monkeypatch.setattr(cache_stage, "fingerprint", lambda *parts: hashed.append(parts) or fingerprint(*parts))
    assert len(source.fragments()) == 3 and len(set(source.keys)) == 3
    assert len(hashed) == len(source.paths) == 1
