import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import forebay as fb
from forebay import transforms as T
from forebay.loaders import feed as feed_module
from forebay.loaders.chunk import PART_BYTES
from forebay.loaders.work import Stretch
from forebay.transforms.image_form import DECODED

ROWS, WIDTH = 70, 64


@pytest.fixture
def data(tmp_path):
    values = np.arange(ROWS * WIDTH, dtype=np.float32)
    wide = pa.FixedSizeListArray.from_arrays(pa.array(values), WIDTH)
    batch = pa.record_batch({"wide": wide, "at": pa.array(np.arange(ROWS))})
    with pa.ipc.new_file(str(tmp_path / "rows.arrow"), batch.schema) as sink:
        for start in range(0, ROWS, 9):
            sink.write_batch(batch.slice(start, 9))
    pq.write_table(pa.Table.from_batches([batch]), tmp_path / "rows.parquet", row_group_size=9)
    return {kind: str(tmp_path / f"rows.{kind}") for kind in ("arrow", "parquet")}


@pytest.fixture
def tokens(tmp_path):
    ids = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(ROWS * 9, dtype=np.uint16)), 9)
    batch = pa.record_batch({"ids": ids})
    with pa.ipc.new_file(str(tmp_path / "tokens.arrow"), batch.schema) as sink:
        sink.write_batch(batch)
    return fb.scan(str(tmp_path / "tokens.arrow")).apply(T.ShiftTokens("ids"))


def in_parts(loader, parts):
    """The loader's batches, where each chunk is one batch that is filled in so many parts."""
    feed = loader._made()
    feed._parts, feed._batches_a_chunk = parts, 1
    return list(loader)


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_batch_filled_in_parts_is_the_batch_filled_at_once(data, kind, shuffle, parts):
    options = {"batch_size": 16, "shuffle": shuffle, "seed": 3, "window_rows": 24, "lanes": 2}
    whole = list(fb.DataLoader(fb.scan(data[kind]), **options))
    given = in_parts(fb.DataLoader(fb.scan(data[kind]), num_workers=3, **options), parts)
    assert [one["at"].tolist() for one in given] == [one["at"].tolist() for one in whole]
    assert all((one["wide"] == other["wide"]).all() for one, other in zip(given, whole, strict=True))
    assert [len(one["at"]) for one in given] == [16, 16, 16, 16, 6]


def pictures(path, bad=None):
    """Images of 12x12 in a file of raw Arrow, with their numbers; one of them has a byte too few."""
    grey = np.random.default_rng(0).integers(0, 256, (ROWS, 3 * 12 * 12), dtype=np.uint8)
    pixels = [one.tobytes()[: -1 if at == bad else None] for at, one in enumerate(grey)]
    sizes = [pa.array(np.full(ROWS, one, np.int32)) for one in (12, 12, 3)]
    column = pa.StructArray.from_arrays([pa.array(pixels, pa.large_binary()), *sizes], fields=list(DECODED))
    batch = pa.record_batch({"image": column, "at": pa.array(np.arange(ROWS))})
    with pa.ipc.new_file(str(path), batch.schema) as sink:
        for start in range(0, ROWS, 9):
            sink.write_batch(batch.slice(start, 9))
    return fb.scan(str(path)).apply(T.RandomCrop(8), T.HorizontalFlip(), T.NormalizeImage())


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch", [3, 16])
def test_parts_of_a_stretch_of_batches_are_those_batches(tmp_path, shuffle, batch):
    images = pictures(tmp_path / "images.arrow")
    options = {"batch_size": batch, "shuffle": shuffle, "seed": 3}
    loader = fb.DataLoader(images, num_workers=3, **options)
    for epoch in range(2):
        whole = fb.DataLoader(images, **options)
        whole.set_epoch(epoch)
        expected, given = list(whole), in_parts(loader, 2)
        assert [one["at"].tolist() for one in given] == [one["at"].tolist() for one in expected]
        assert all(torch.equal(one["image"], other["image"]) for one, other in zip(given, expected, strict=True))
    assert loader._made().members[0].writer.gathers


def test_a_bad_row_is_told_of_in_its_own_batch(tmp_path):
    images = pictures(tmp_path / "images.arrow", bad=50)
    loader = fb.DataLoader(images, batch_size=4, shuffle=True, seed=5, num_workers=2)
    feed = loader._made()
    feed._parts, feed._batches_a_chunk = 2, 1
    fragments, rows = loader._made().order(0).locate(np.arange(ROWS))
    bad = np.flatnonzero((fragments * 9 + rows) == 50)[0] // 4
    came = []
    with pytest.raises(fb.ForebayError, match=r"fragment 5, row 5, column 'image': .*number of bytes"):
        came.extend(len(batch["at"]) for batch in loader)
    assert came == [4] * bad


def test_one_more_slot_than_threads_and_those_that_the_trainer_holds_are_made(data):
    loader = fb.DataLoader(fb.scan(data["arrow"]).select("wide"), batch_size=8, num_workers=2)
    feed = loader._made()
    feed._batches_a_chunk = 1
    for batch in loader:
        assert len(batch["wide"])
    assert feed.ring.made <= 2 + 1 + 1


def test_the_first_batch_waits_for_itself_alone_and_small_chunks_leave_no_slots_behind(data, monkeypatch):
    monkeypatch.setattr(feed_module, "CHUNK_BYTES", 8 * WIDTH * 4)
    loader = fb.DataLoader(fb.scan(data["arrow"]).select("wide"), batch_size=1, num_workers=2)
    feed = loader._made()
    assert [len(steps.sizes) for steps in feed._steps(0, 0, 8)] == [1, 4, 8, 8, 8, 8, 8, 8, 8, 8, 1]
    assert [steps.untils[0] for steps in feed._steps(0, 60, 8)] == [61, 62, 66]
    for _ in range(3):
        assert sum(len(batch["wide"]) for batch in loader) == ROWS
    assert feed.ring.made <= 1 + 2 and {len(one) for one in feed.ring._free} == {8 * WIDTH * 4}


@pytest.mark.parametrize(
    ("batches", "parts", "threads", "ahead"), [(16, 1, 2, 2), (16, 1, 1, 2), (1, 1, 2, 3), (1, 2, 2, 3)]
)
def test_a_thread_has_one_chunk_and_one_more_where_a_chunk_is_a_batch(data, batches, parts, threads, ahead):
    feed = fb.DataLoader(fb.scan(data["arrow"]), batch_size=8, num_workers=threads)._made()
    feed._batches_a_chunk, feed._parts = batches, parts
    assert feed._ahead == ahead


def test_chunks_are_smaller_where_rows_are_decoded_or_looked_up_for_many_chunks_at_once(data, tokens, monkeypatch):
    monkeypatch.setattr(feed_module, "CHUNK_BYTES", 32 * WIDTH * 4)
    monkeypatch.setattr(feed_module, "DECODED_BYTES", 8 * WIDTH * 4)
    found = {kind: fb.DataLoader(fb.scan(path).select("wide"), batch_size=4)._made() for kind, path in data.items()}
    assert {kind: feed._batches_a_chunk for kind, feed in found.items()} == {"arrow": 8, "parquet": 2}
    monkeypatch.setattr(feed_module, "CHUNK_BYTES", 4 * 8 * 2 * 8 * 8)
    monkeypatch.setattr(feed_module, "STRETCHED_BYTES", 8 * 2 * 8 * 8)
    loader = fb.DataLoader(tokens, batch_size=4, shuffle=True, num_workers=2)
    assert loader._made()._batches_a_chunk == 2
    given = [batch["input_ids"][:, 0].tolist() for batch in loader]
    assert [len(one) for one in given] == [4] * 17 + [2] and sorted(sum(given, [])) == list(range(0, ROWS * 9, 9))
    assert given == [batch["input_ids"][:, 0].tolist() for batch in fb.DataLoader(tokens, batch_size=4, shuffle=True)]


def test_a_bad_row_in_any_part_is_named(tmp_path):
    values = np.arange(40, dtype=np.int64).astype(object)
    values[29] = None
    path = str(tmp_path / "rows.arrow")
    batch = pa.record_batch({"x": pa.array(list(values), pa.int64())})
    with pa.ipc.new_file(path, batch.schema) as sink:
        sink.write_batch(batch)
    loader = fb.DataLoader(fb.scan(path).apply(T.Modulo("x", divisor=7)), batch_size=20, num_workers=2)
    with pytest.raises(fb.ForebayError, match=r"fragment 0, row 29, column 'x': null"):
        in_parts(loader, 2)


def test_only_large_chunks_of_plain_columns_are_parted(data):
    def maker(*transforms):
        return fb.DataLoader(fb.scan(data["arrow"]).apply(*transforms), batch_size=8, num_workers=2)._made()._makers[0]

    rows = 2 * PART_BYTES // maker().row_bytes + 1
    assert [maker().parts(one, 4) for one in (1, rows // 2, rows, 2 * rows, 100 * rows)] == [1, 1, 2, 4, 4]


def test_batches_that_are_mixed_or_laid_out_are_made_at_once(tmp_path):
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * 48, np.float32)), 48)
    image = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (3, 4, 4)), pixels)
    mixed = pa.record_batch({"image": image, "label": pa.array([0, 1])})
    text = pa.record_batch({"text": ["a", "b"]})
    for name, batch in (("text", text), ("mixed", mixed)):
        path = str(tmp_path / f"{name}.arrow")
        with pa.ipc.new_file(path, batch.schema) as sink:
            sink.write_batch(batch)
        ds = fb.scan(path).apply(*([T.MixUp(2)] if name == "mixed" else []))
        maker = fb.DataLoader(ds, batch_size=2, num_workers=2)._made()._makers[0]
        assert maker.parts(1 << 40, 4) == 1


def test_an_iteration_that_is_left_leaves_no_thread(data):
    loader = fb.DataLoader(fb.scan(data["arrow"]), batch_size=8, num_workers=2)
    loader._made()._batches_a_chunk = 1
    before = threading.active_count()
    batches = iter(loader)
    assert next(batches)["at"].tolist() == list(range(8)) and threading.active_count() == before + 2
    batches.close()
    assert threading.active_count() == before


def test_what_cannot_be_found_out_ahead_is_raised_where_its_batch_would_have_come(tmp_path, monkeypatch):
    """Also where it is no error of the data: the thread that met it first goes on."""
    images = pictures(tmp_path / "images.arrow")
    loader = fb.DataLoader(images, batch_size=4, shuffle=True, num_workers=2)
    feed = loader._made()
    feed._batches_a_chunk = 1
    look, failed = Stretch._look, []

    def broken(self):
        if self.work.positions[0] >= 36:
            failed.append(int(self.work.positions[0]))
            raise OSError("the disk is gone")
        look(self)

    monkeypatch.setattr(Stretch, "_look", broken)
    came = []
    with pytest.raises(OSError, match="the disk is gone"):
        came.extend(len(batch["at"]) for batch in loader)
    assert came and sum(came) == min(failed)
