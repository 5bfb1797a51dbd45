"""Samples are stacked into a slot as torch stacks them, whatever their types, strides and number."""

import os

import pytest
import torch
from support.arenas import writer_of

from forebay.loaders.arena import Arena
from forebay.loaders.slot_writer import SlotWriter
from forebay.loaders.stacking import stack_into

ROWS = torch.arange(600 * 300, dtype=torch.float32).view(600, 300)


STACKED = {
    "small": [*ROWS],
    "large": [*torch.rand(5, 40_000)],
    "turned": [one.t() for one in torch.rand(5, 200, 201)],
    "expanded": [torch.rand(1).expand(20_000) for _ in range(7)],
    "half": [*torch.rand(5, 90_000).to(torch.bfloat16)],
    "mixed": [torch.rand(40_000), torch.rand(40_000).half(), torch.arange(40_000)],
    "conjugated": [one.conj() for one in torch.rand(3, 20_000, dtype=torch.complex64)],
    "negative": [one.conj().imag for one in torch.rand(3, 40_000, dtype=torch.complex64)],
    "many": [*torch.rand(1300, 20)],
}


@pytest.mark.parametrize("mapped", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", STACKED)
def test_a_batch_is_stacked_as_torch_stacks_it(name: str, mapped: float, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = STACKED[name]
    arena = Arena.create(2, 1 << 22)
    assert arena is not None
    writer = writer_of(arena)
    monkeypatch.setattr(SlotWriter, "mapped_bytes", lambda _, memory: int(len(memory) * mapped))
    memory = writer.allocate(len(batch) * batch[0].nbytes)
    assert memory is not None
    made = torch.frombuffer(memory, dtype=batch[0].dtype).view(len(batch), *batch[0].shape)
    assert stack_into(writer, memory, made, batch)
    assert torch.equal(made, torch.stack(batch).to(batch[0].dtype))
    arena.close()


@pytest.mark.parametrize("odd", [1, 400, 1299])
def test_samples_of_another_shape_are_refused_wherever_they_are(odd: int, arena: Arena) -> None:
    batch = [*torch.rand(1300, 100)]
    batch[odd] = torch.rand(101)
    writer = writer_of(arena)
    memory = writer.allocate(1300 * 400)
    assert memory is not None
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        stack_into(writer, memory, torch.frombuffer(memory, dtype=torch.float32).view(1300, 100), batch)


def test_more_pieces_than_the_system_takes_at_once_are_written(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [number.to_bytes(2, "little") for number in range(2500)]
    assert arena.write(arena.offset(1), pieces) == 5000
    assert arena.export(arena.offset(1), 5000).raw == b"".join(pieces)
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, offset: real(fd, [b"".join(parts)[:7]], offset))
    assert arena.write(arena.offset(2), pieces) == 5000
    assert arena.export(arena.offset(2), 5000).raw == b"".join(pieces)
