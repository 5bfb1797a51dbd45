"""Writing to an object store (fsspec's memory store: the store's own tests use a real S3 server)."""

import pytest
from support import tables

import forebay as fb
from forebay import transforms as T


def test_shards_state_and_quarantine_land_in_the_store(tmp_path: object) -> None:
    pytest.importorskip("fsspec", reason="the extra `remote` is not installed")
    import fsspec

    source = tables.write_parquet(tmp_path / "raw")  # type: ignore[operator]  # a Path
    ds = fb.scan(str(source)).map_batches(tables.boom_at_13, version="1").apply(T.FillNull(["x"], strategy="mean"))
    report = ds.fit(on_bad="skip").write("memory://bucket/out")
    assert report.written == 2999 and sum(report.bad.values()) == 1
    names = {one.rsplit("/", 1)[-1] for one in fsspec.filesystem("memory").find("/bucket/out")}
    assert {"manifest.json", "quarantine.parquet", "state.json"} <= names
    assert not [one for one in names if one.endswith(".quarantine")]
    found = fb.scan("memory://bucket/out")
    assert len(found) == 2999 and found.head(9999).column("row").to_pylist()[13] == 14
    assert ds.fit(on_bad="skip").write("memory://bucket/out").already_done
