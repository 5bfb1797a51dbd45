"""The manifest: deterministic, whole or absent, refused when newer or altered, small in memory for very many shards."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from forebay.formats.errors import CorruptError, SourceError, StateError
from forebay.formats.manifest import NAME, Manifest, has_manifest
from forebay.formats.schemas import CLASSES_KEY
from forebay.formats.shard_index import ShardIndex, ShardInfo
from forebay.formats.store import store_for

SCHEMA = pa.schema([("x", pa.fixed_shape_tensor(pa.float32(), (3,)))], metadata={CLASSES_KEY: b'["ant", "cat"]'})


def shards(count: int) -> list[ShardInfo]:
    return [ShardInfo(f"part-{at:05d}.parquet", 10 + at, 100, 2, 8, f"xxh3_128:{at:032x}") for at in range(count)]


def manifest(count: int = 3) -> Manifest:
    return Manifest(
        format="parquet",
        schema=SCHEMA,
        shards=shards(count),
        fingerprint="f" * 32,
        sources=("a.csv", "é.csv"),
        graph=({"name": "Log1p", "columns": ["x"]},),
        state="state",
        counts={"read": 33, "set_aside": {}},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store, folder = store_for(tmp_path)
    assert not has_manifest(store, folder)
    manifest().write(store, folder)
    assert has_manifest(store, folder)
    back = Manifest.read(store, folder)
    assert back == manifest()
    assert back.schema.equals(SCHEMA, check_metadata=True)
    assert back.classes == ("ant", "cat")
    assert back.rows == 33 and list(back.shards) == shards(3)


def test_equal_runs_write_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        manifest().write(*store_for(tmp_path / name))
    assert (tmp_path / "a" / NAME).read_bytes() == (tmp_path / "b" / NAME).read_bytes()


def test_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    store, folder = store_for(tmp_path)
    manifest().write(store, folder)
    value = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps(value | {"forebay_manifest": 2}))
    with pytest.raises(
        StateError, match=r"manifest\.json is of version 2; this forebay reads up to 1: install a newer"
    ):
        Manifest.read(store, folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: "not json",
        lambda value: "[]",
        lambda value: json.dumps({key: value[key] for key in value if key != "shards"}),
        lambda value: json.dumps(value | {"schema": "AAAA"}),
        lambda value: json.dumps(value | {"shards": value["shards"] | {"rows": [1]}}),
        lambda value: json.dumps(value | {"shards": value["shards"] | {"rows": ["x", "y", "z"]}}),
        lambda value: json.dumps({key: value[key] for key in value if key != "forebay_manifest"}),
    ],
)
def test_one_that_is_altered_is_refused(change: object, tmp_path: Path) -> None:
    store, folder = store_for(tmp_path)
    manifest().write(store, folder)
    value = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(change(value))  # type: ignore[operator]  # one of the functions above
    with pytest.raises(CorruptError, match=r"manifest\.json: not a manifest of forebay, or altered"):
        Manifest.read(store, folder)


def test_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"manifest\.json: no such file"):
        Manifest.read(*store_for(tmp_path))


def test_an_index_is_a_sequence_of_shards() -> None:
    index = ShardIndex.of(shards(10_000))
    assert len(index) == 10_000 and index[-1] == shards(10_000)[-1] and index[3:5] == ShardIndex.of(shards(5)[3:])
    assert list(index) == shards(10_000)
    assert index.total("rows") == sum(one.rows for one in index)
    assert index != ShardIndex.of(shards(9_999)) and hash(index) == hash(ShardIndex.of(index))
    assert repr(index) == "<10,000 shards, 50,095,000 rows>"
    with pytest.raises(IndexError, match="shard 10000 of 10000"):
        index[10_000]


def test_a_million_shards_take_no_object_each() -> None:
    names = [f"part-{at:07d}-00000.parquet" for at in range(10**6)]
    columns = {"name": names, "checksum": names}
    before = pa.total_allocated_bytes()
    index = ShardIndex(columns | dict.fromkeys(("rows", "nbytes", "row_groups", "row_group_rows"), range(10**6)))
    assert pa.total_allocated_bytes() - before < 120 * 10**6
    assert index.total("rows") == 499_999_500_000
    assert index[765_432].name == "part-0765432-00000.parquet"
