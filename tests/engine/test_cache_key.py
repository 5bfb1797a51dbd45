"""A key changes with everything that a result depends on, and with nothing else."""

import pyarrow as pa
import pytest

from forebay.engine.cache_key import range_key, shard_identity, unit_key
from forebay.formats.fragment import Fragment

SCHEMA = pa.schema([("a", pa.int64())])


def key(**changed: object) -> str:
    fragment = {"path": "/data/x.parquet", "format": "parquet", "start": 0, "stop": 1, "rows": 5, "nbytes": 9}
    fragment |= {name: value for name, value in changed.items() if name in fragment}
    given = {"prefix": "p", "schema": SCHEMA, "shard": {"checksum": "c"}, "ordinal": 0}
    given |= {name: value for name, value in changed.items() if name in given}
    return unit_key(fragment=Fragment(**fragment), **given)  # type: ignore[arg-type]


def test_a_renamed_directory_has_the_same_key() -> None:
    assert key() == key(path="/elsewhere/x.parquet")


@pytest.mark.parametrize(
    "changed",
    [
        {"prefix": "q"},
        {"schema": pa.schema([("a", pa.int32())])},
        {"shard": {"checksum": "d"}},
        {"start": 1, "stop": 2},
        {"ordinal": 1},
        {"format": "arrow"},
    ],
)
def test_what_matters_changes_it(changed: dict[str, object]) -> None:
    assert key() != key(**changed)


def test_a_shard_is_known_by_checksum_then_etag_then_size_and_time() -> None:
    assert shard_identity("d/x", checksum="c", etag="e", size=1) == {"checksum": "c"}
    assert shard_identity("d/x", etag="e", size=1) == shard_identity("other/x", etag="e", size=1)
    assert shard_identity("d/x", size=1, mtime_ns=2) != shard_identity("d/x", size=1, mtime_ns=3)


def test_ranges_of_one_object_differ() -> None:
    shard = shard_identity("x", etag="e")
    assert len({range_key(shard=shard, start=a, stop=b) for a, b in [(0, 1), (0, 2), (1, 2)]}) == 3
