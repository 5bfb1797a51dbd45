"""Cached data sets in the loader: read like memory-mapped Arrow, each sample as without the cache."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.photographs import jpegs

import forebay as fb
from forebay import transforms as T
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
