"""The contract of stream backends, run on every one that this machine has, and on the recording fake."""

import pytest
import torch
from support.recording_streams import RecordingStreams

from forebay.loaders.stream import CpuStreams, CudaStreams, StreamBackend, streams_for


def backends() -> list[object]:
    cuda = pytest.param(
        lambda: CudaStreams(torch.device("cuda")),
        id="cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none"),
        ],
    )
    return [pytest.param(CpuStreams, id="cpu"), pytest.param(RecordingStreams, id="fake"), cuda]


@pytest.mark.parametrize("make", backends())
def test_a_backend_copies_on_a_side_stream_and_hands_the_batch_over(make) -> None:
    streams: StreamBackend = make()
    side, consumer = streams.new_stream(), streams.current()
    source = torch.arange(8)
    streams.wait(side, consumer)
    with streams.use(side):
        assert streams.current() == side or isinstance(streams, CpuStreams)
        batch = source.clone() if isinstance(streams, CpuStreams | RecordingStreams) else source.to("cuda")
        mark = streams.mark(side)
    streams.wait(streams.current(), side)
    streams.record(batch, streams.current())
    mark.synchronize()
    assert mark.query()
    assert streams.current() == consumer
    assert isinstance(streams.idle(), bool)
    assert torch.equal(batch.cpu(), source)


def test_the_device_decides_the_backend() -> None:
    assert isinstance(streams_for("cpu"), CpuStreams)
    assert isinstance(streams_for("meta"), CpuStreams)


def test_the_fake_shows_which_stream_was_current_and_restores_it_after_an_error() -> None:
    streams = RecordingStreams()
    side = streams.new_stream()
    with pytest.raises(RuntimeError, match="copy failed"), streams.use(side):
        assert streams.current() == side
        raise RuntimeError("copy failed")
    assert streams.current() == "consumer"
    assert streams.log == [("new", "side1"), ("enter", "side1"), ("leave", "side1")]
