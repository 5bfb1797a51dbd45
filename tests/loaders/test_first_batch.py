"""The contract of a batch: what differs from the schema or from what was agreed is named on the first one."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from support import tables

import forebay as fb
from forebay.formats.errors import SchemaError, SpecError
from forebay.loaders.first_batch import check_first_batch
from forebay.loaders.hooks.batch_contract import Field

SCHEMA = pa.schema(
    [
        ("x", pa.float32()),
        ("image", pa.fixed_shape_tensor(pa.uint8(), (3, 2, 2))),
        ("text", pa.string()),
        ("tokens", pa.list_(pa.int32())),
    ]
)


def batch() -> dict[str, object]:
    return {
        "x": torch.zeros(4),
        "image": torch.zeros(4, 3, 2, 2, dtype=torch.uint8),
        "text": ["a"] * 4,
        "tokens": torch.zeros(4, 9, dtype=torch.int64),  # lists are laid out as asked for, not as they are stored
    }


def test_what_the_schema_says_passes() -> None:
    check_first_batch(batch(), SCHEMA, None)
    check_first_batch({"x": torch.zeros(2)}, SCHEMA, {"x": Field(torch.float32, ())})


def test_another_type_shape_or_layout_is_named() -> None:
    with pytest.raises(
        SchemaError,
        match="column 'x' of the batch is torch.float64 .* schema of the data set says float.*output_schema",
    ):
        check_first_batch({**batch(), "x": torch.zeros(4, dtype=torch.float64)}, SCHEMA, None)
    with pytest.raises(SchemaError, match=r"column 'image' .* shape \(N, \*\(3, 2\)\).*\(N, \*\(3, 2, 2\)\)"):
        check_first_batch({**batch(), "image": torch.zeros(4, 3, 2, dtype=torch.uint8)}, SCHEMA, None)
    with pytest.raises(SchemaError, match="column 'image' of the batch is not contiguous: strides"):
        turned = torch.zeros(4, 2, 2, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        check_first_batch({**batch(), "image": turned}, SCHEMA, None)


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    path: Path = tmp_path_factory.mktemp("first")
    return fb.scan(str(tables.write_parquet(path / "raw"))).select("row", "n", "s")


def test_the_loader_holds_its_first_batch_against_what_was_agreed(ds: fb.Dataset) -> None:
    agreed = {"row": Field(torch.int64, ()), "n": Field(torch.int32)}
    loader = fb.DataLoader(ds, 8, contract=agreed, columns=("row", "n"))
    with pytest.raises(SchemaError, match="'n' of the batch is torch.int64, agreed was torch.int32: 2 times the bytes"):
        next(iter(loader))
    assert len(list(fb.DataLoader(ds, 1000, contract={"n": Field(torch.int64)}))) == 3
    with pytest.raises(SchemaError, match="'s' of the batch is a list, expected a tensor"):
        next(iter(fb.DataLoader(ds, 8, contract={"s": Field(torch.int64)})))
    with pytest.raises(SpecError, match=r"contract is .*expected column -> hooks.Field"):
        fb.DataLoader(ds, 8, contract={"n": torch.int64})


def test_the_first_batch_gives_its_memory_back(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds.select("row"), 3000)
    for _ in range(20):
        for _ in loader:
            pass
    assert loader._feed.ring.made <= 3
