"""Copies are queued in the one safe order, one batch ahead, and pinned sources outlive them."""

import gc
import weakref
from typing import Any, NamedTuple

import pytest
import torch
from support.recording_streams import RecordingStreams
from torch.utils.data import DataLoader, TensorDataset

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.device_prefetch import DevicePrefetch
from forebay.loaders.hooks.tensor_tree import each_tensor, map_tensors

cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none"),
]


class Source:
    """A loader with a position, as forebay's own: the state is that after the batch last fetched."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches
        self.position = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        while self.position < len(self.batches):
            self.position += 1
            yield self.batches[self.position - 1]
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.position = state_dict["position"]


def test_the_order_of_stream_operations_is_the_safe_one() -> None:
    streams = RecordingStreams()

    def transform(batch: torch.Tensor) -> torch.Tensor:
        streams.note("copy", streams.current())
        return batch

    prefetch = DevicePrefetch(Source([torch.ones(1), torch.ones(1)]), "cpu", transform=transform, streams=streams)
    for _ in prefetch:
        streams.note("step")
    copy = [("wait", "side1", "consumer"), ("enter", "side1"), ("copy", "side1"), ("mark", "side1"), ("leave", "side1")]
    hand_over = [("wait", "consumer", "side1"), ("record", "consumer")]
    assert streams.log == [
        ("new", "side1"),
        *copy,
        *hand_over,
        *copy,
        ("step",),
        *hand_over,
        ("step",),
    ]


def test_one_stream_serves_all_epochs_and_every_leaf_is_recorded() -> None:
    streams = RecordingStreams()
    batch = {"a": torch.ones(1), "b": [torch.ones(1), (torch.ones(1), "text")]}
    prefetch = DevicePrefetch(Source([batch, batch]), "cpu", streams=streams)
    for _ in range(3):
        assert len(list(prefetch)) == 2
    assert streams.made == 1
    assert streams.log.count(("record", "consumer")) == 3 * 2 * 3


def test_a_source_is_held_until_its_copy_has_passed() -> None:
    streams = RecordingStreams()
    made: list[weakref.ref[torch.Tensor]] = []

    class Fresh:
        def __iter__(self) -> Any:
            for _ in range(4):
                tensor = torch.ones(1)
                made.append(weakref.ref(tensor))
                yield tensor
                del tensor

    class Copies(DevicePrefetch):
        def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor.clone()

    iterator = iter(Copies(Fresh(), "cpu", streams=streams))
    next(iterator), next(iterator)
    gc.collect()
    assert [ref() is not None for ref in made] == [True, True, True]
    streams.marks[0].passed = streams.marks[1].passed = True
    next(iterator)
    gc.collect()
    assert [ref() is not None for ref in made] == [False, False, True, True]


def test_an_empty_loader_gives_nothing_and_lengths_are_the_loaders() -> None:
    prefetch = DevicePrefetch(Source([]), "cpu")
    assert list(prefetch) == [] and len(prefetch) == 0
    with pytest.raises(TypeError):
        len(DevicePrefetch(iter([]), "cpu"))


def test_the_state_is_that_of_the_batch_given_out() -> None:
    batches = [torch.tensor([i]) for i in range(5)]
    source = Source(batches)
    prefetch = DevicePrefetch(source, "cpu")
    iterator = iter(prefetch)
    assert [int(next(iterator)) for _ in range(2)] == [0, 1]
    assert source.state_dict() == {"position": 3} and prefetch.state_dict() == {"position": 2}
    resumed = DevicePrefetch(Source(batches), "cpu")
    resumed.load_state_dict(prefetch.state_dict())
    assert [int(x) for x in resumed] == [2, 3, 4]
    assert [int(x) for x in resumed] == [0, 1, 2, 3, 4]
    assert resumed.state_dict() == {"position": 0}


def test_a_loader_without_state_says_so() -> None:
    prefetch = DevicePrefetch(DataLoader(TensorDataset(torch.zeros(2))), "cpu")
    with pytest.raises(SpecError, match=r"DataLoader has no state_dict\(\) and .*; use forebay.DataLoader"):
        prefetch.state_dict()
    with pytest.raises(SpecError, match="has no state_dict"):
        prefetch.load_state_dict({})


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])
def test_batches_arrive_whole_and_transformed(device: str) -> None:
    loader = DataLoader(TensorDataset(torch.arange(64.0)), batch_size=8, pin_memory=device == "cuda")
    prefetch = DevicePrefetch(loader, device, transform=lambda batch: [batch[0] * 2])
    kept = [x for (x,) in prefetch]
    assert all(x.device.type == device for x in kept)
    assert torch.equal(torch.cat(kept).cpu(), torch.arange(64.0) * 2)


class Pair(NamedTuple):
    x: torch.Tensor
    y: Any


def test_trees_keep_their_kinds() -> None:
    tree = {"a": Pair(torch.ones(1), ["text", torch.ones(2)]), "b": (torch.ones(3), 4)}
    found = map_tensors(tree, lambda tensor: tensor + 1)
    assert isinstance(found["a"], Pair) and isinstance(found["b"], tuple) and found["b"][1] == 4
    assert [len(tensor) for tensor in each_tensor(found)] == [1, 2, 3]
    assert all((tensor == 2).all() for tensor in each_tensor(found))
