"""MixUp and CutMix in the loader: what `apply_batch` makes of the finished batch, whatever prepares it."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import forebay as fb
from forebay import transforms as T
from forebay.transforms.transform import Rows

ROWS, CLASSES = 240, 4


@pytest.fixture(scope="module", params=["arrow", "parquet"])
def ds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    base: Path = tmp_path_factory.mktemp("mixers")
    values = np.random.default_rng(0).random((ROWS, 3 * 6 * 6), np.float32)
    storage = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 3 * 6 * 6)
    image = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (3, 6, 6)), storage)
    table = pa.table({"row": np.arange(ROWS), "image": image, "label": np.arange(ROWS) % CLASSES})
    pq.write_table(table, base / "raw.parquet", row_group_size=50)
    fb.scan(str(base / "raw.parquet")).write(str(base / "out"), format=request.param, max_rows=80)
    return fb.scan(str(base / "out"))


def batches(ds: fb.Dataset, **options: Any) -> list[dict[str, torch.Tensor]]:
    return list(fb.DataLoader(ds, **{"batch_size": 16, "shuffle": True, "seed": 3, "window_rows": 60, **options}))


def same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x) for x, y in pairs)


@pytest.mark.parametrize("mixer", [T.MixUp(CLASSES), T.CutMix(CLASSES, p=0.7)])
def test_each_batch_is_what_the_transform_makes_of_the_plain_one(ds: fb.Dataset, mixer: Any) -> None:
    mapped = {int(row): at for at, row in enumerate(range(ROWS))}
    for plain, found in zip(batches(ds), batches(ds.apply(mixer)), strict=True):
        assert torch.equal(plain["row"], found["row"])
        # fragments of 50 and 30 rows, as the shards were cut: ids are found again from the selection
        fragments, rows = ds.selection.locate(np.array([mapped[int(row)] for row in plain["row"]]))
        ids = (fragments.astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64)
        out = {name: plain[name].numpy().copy() for name in ("image", "label")}
        out.update(mixer.apply_batch(out, Rows(ids, 3, 0), 0))
        assert np.array_equal(out["image"], found["image"].numpy())
        assert np.array_equal(out["label"], found["label"].numpy()) and found["label"].shape == (16, CLASSES)


def test_results_do_not_depend_on_threads_or_on_where_an_epoch_is_begun(ds: fb.Dataset) -> None:
    mixed = ds.apply(T.MixUp(CLASSES), T.CutMix(CLASSES))
    whole = batches(mixed)
    assert same(whole, batches(mixed, num_workers=1)) and same(whole, batches(mixed, num_workers=3))
    loader = fb.DataLoader(mixed, 16, True, seed=3, window_rows=60)
    list(islice(loader, 5))
    again = fb.DataLoader(mixed, 16, True, seed=3, window_rows=60, num_workers=2)
    again.load_state_dict(loader.state_dict())
    assert same(whole[5:], list(again))


def test_a_mixture_that_begins_again_mixes_the_same_when_resumed(ds: fb.Dataset) -> None:
    few = ds.filter("row < 30").apply(T.MixUp(CLASSES))
    both = fb.mix({ds.apply(T.MixUp(CLASSES)): 0.8, few: 0.2}, stop="never")

    def make() -> Any:
        return fb.DataLoader(both, 16, True, seed=3, window_rows=60)

    whole = list(islice(make(), 40))
    loader = make()
    list(islice(loader, 17))
    again = make()
    again.load_state_dict(loader.state_dict())
    assert same(whole[17:], list(islice(again, 23)))


def test_epochs_and_seeds_mix_otherwise(ds: fb.Dataset) -> None:
    mixed = ds.apply(T.MixUp(CLASSES))
    loader = fb.DataLoader(mixed, ROWS, seed=3)
    first, second = next(iter(loader)), next(iter(loader))
    other = next(iter(fb.DataLoader(mixed, ROWS, seed=4)))
    assert torch.equal(first["row"], second["row"]) and not torch.equal(first["label"], second["label"])
    assert torch.equal(first["row"], other["row"]) and not torch.equal(first["label"], other["label"])


def test_labels_stay_soft_and_kept_batches_whole(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds.apply(T.MixUp(CLASSES), T.CutMix(CLASSES)), 50, True, num_workers=2, window_rows=60)
    kept = [(one["image"], one["image"].clone(), one["label"]) for _ in range(3) for one in loader]
    assert all(torch.equal(image, copy) for image, copy, _ in kept)
    assert all(torch.allclose(label.sum(1), torch.ones(len(label))) for _, _, label in kept)


def test_batches_by_length_may_be_mixed_too(ds: fb.Dataset) -> None:
    by = fb.ByLength("label", window_rows=64)
    found = batches(ds.apply(T.MixUp(CLASSES)), batching=by)
    assert sorted(torch.cat([one["row"] for one in found]).tolist()) == list(range(ROWS))
