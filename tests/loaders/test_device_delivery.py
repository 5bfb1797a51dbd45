"""Delivery to a device: the order of stream operations, and slots that are given back after their copies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import tables
from support.recording_streams import RecordingStreams

import forebay as fb
from forebay.formats.errors import SpecError
from forebay.loaders.device_delivery import DeviceDelivery, delivery_to
from forebay.loaders.feed import Feed
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.filled import Filled
from forebay.loaders.ring import Ring
from forebay.transforms.stage import TensorSpec


def chunk(ring: Ring, value: int) -> Filled:
    filled = Filled([2, 2], ["x", "s"])
    filled.slots.append(ring.take(4096))
    filled.slots[0].column("x", 4, TensorSpec((), np.dtype(np.int64)))[:] = value
    filled.values = [{"s": ["a", "b"]}, {"s": ["c", "d"]}]
    return filled


def test_operations_come_in_the_order_that_keeps_memory_safe() -> None:
    streams, ring = RecordingStreams(), Ring(overwrite=True)

    def chunks() -> Iterator[tuple[Filled, list[int]]]:
        for number in range(3):
            streams.note("filled", number)
            yield chunk(ring, number), [2, 4]

    def release(filled: Filled) -> None:
        streams.note("released", filled.slots[0].memory[0])

    delivery = DeviceDelivery("cpu", streams=streams)
    for number, (batches, _) in enumerate(delivery(chunks(), release)):
        streams.note("used", number)
        assert batches[1]["x"].tolist() == [number] * 2 and batches[1]["s"] == ["c", "d"]
        streams.marks[number].passed = True  # the device is done with this chunk's copy

    copied = [("wait", "side1", "consumer"), ("enter", "side1"), ("mark", "side1"), ("leave", "side1")]
    given = [("wait", "consumer", "side1"), ("record", "consumer")]
    assert streams.log == [
        ("new", "side1"),
        ("filled", "0"),
        *copied,
        ("filled", "1"),
        *given,  # the consumer waits for no copy but its own,
        *copied,  # and the next one waits for nothing of the batches that are used now
        ("used", "0"),
        ("filled", "2"),
        *given,
        *copied,
        ("released", "0"),
        ("used", "1"),
        *given,
        ("used", "2"),
    ]


def test_a_slot_is_not_given_back_before_its_copy_has_passed() -> None:
    streams, ring, released = RecordingStreams(), Ring(overwrite=True), []
    delivery = DeviceDelivery("cpu", streams=streams)
    chunks = ((chunk(ring, number), [2, 4]) for number in range(12))
    for number, _ in enumerate(delivery(chunks, released.append)):
        assert len(released) == max(0, min(number + 2, 12) - 4)  # never more than four copies are under way
    waited = [what for what in streams.log if what[0] == "synchronize"]
    assert [name for _, name in waited] == [f"mark{number}" for number in range(1, 9)]
    for mark in streams.marks:
        mark.passed = True
    list(delivery(iter([(chunk(ring, 0), [2, 4])]), released.append))
    assert len(released) == 12  # those of an epoch's end go back in the next


def test_one_side_stream_serves_all_epochs() -> None:
    streams = RecordingStreams()
    delivery = DeviceDelivery("cpu", streams=streams)
    for _ in range(3):
        list(delivery(iter([(chunk(Ring(), 1), [2, 4])]), lambda filled: None))
    assert streams.made == 1


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    path: Path = tmp_path_factory.mktemp("device")
    fb.scan(str(tables.write_parquet(path / "raw"))).select("row", "s").write(str(path / "out"), format="arrow")
    return fb.scan(str(path / "out"))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("threads", [0, 2])
def test_the_feed_gives_the_same_batches_by_way_of_a_device(ds: fb.Dataset, overwrite: bool, threads: int) -> None:
    spec = FeedSpec(batch_size=700, shuffle="global", threads=threads, overwrite=overwrite)
    plain = [(batch["row"].clone(), batch["s"], at) for batch, at in Feed(ds, spec).epoch(0, 0)]
    feed = Feed(ds, spec, deliver=DeviceDelivery("cpu"))
    for _ in range(4):
        kept = [(batch["row"], batch["s"], at) for batch, at in feed.epoch(0, 0)]
        for (one, text, at), (other, other_text, other_at) in zip(plain, kept, strict=True):
            assert torch.equal(one, other) and text == other_text and at == other_at
    assert feed.ring.made <= threads + 8


def test_where_there_is_no_gpu_it_says_so_when_the_loader_is_made(ds: fb.Dataset) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(SpecError, match=r"to is 'cuda', and torch .* sees no CUDA device here; leave to= out"):
        fb.DataLoader(ds, 8, to="cuda")
    with pytest.raises(SpecError, match=r"to is 'cuda:1'"):
        fb.DataLoader(ds, 8, to=torch.device("cuda", 1))


def test_other_devices_are_refused_and_the_host_is_none(ds: fb.Dataset) -> None:
    with pytest.raises(SpecError, match="to is 'meta'; batches can be sent to 'cuda' devices"):
        fb.DataLoader(ds, 8, to="meta")
    with pytest.raises(SpecError, match="to is 'gpu'; expected 'cuda'"):
        fb.DataLoader(ds, 8, to="gpu")
    assert delivery_to(None) is None is delivery_to("cpu")
    assert next(iter(fb.DataLoader(ds, 8, to="cpu")))["row"].device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("overwrite", [False, True])
def test_on_a_gpu_batches_are_whole_while_the_host_runs_ahead(ds: fb.Dataset, overwrite: bool) -> None:
    options: dict[str, Any] = {"batch_size": 100, "shuffle": True, "num_workers": 2, "overwrite": overwrite}
    plain = [batch["row"].clone() for batch in fb.DataLoader(ds, **options)]
    loader, sums, work = fb.DataLoader(ds, **options, to="cuda"), [], torch.randn(2000, 2000, device="cuda")
    for epoch in range(5):
        loader.load_state_dict({**loader.state_dict(), "epoch": 0, "position": 0})
        for batch in loader:
            work = work @ work * 0.01  # the device lags behind
            sums.append((batch["row"] + 0).clone())
        found = [one.cpu() for one in sums[-len(plain) :]]
        assert all(torch.equal(one, other) for one, other in zip(plain, found, strict=True)), epoch


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_users_own_copy_keeps_the_pinned_slot(ds: fb.Dataset) -> None:
    loader = fb.DataLoader(ds, batch_size=1000, num_workers=2)
    work = torch.randn(4000, 4000, device="cuda")
    copies = []
    for _ in range(10):
        for batch in loader:
            work = work @ work * 0.01
            copies.append(batch["row"].to("cuda", non_blocking=True))
    assert all(torch.equal(one.cpu(), copies[at % 3].cpu()) for at, one in enumerate(copies))
