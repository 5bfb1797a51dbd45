"""The snapshot is refused without a device, and written on one when memory runs out."""

from pathlib import Path

import pytest
import torch

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.memory_snapshot import MemorySnapshot


@pytest.mark.skipif(torch.cuda.is_available(), reason="the message is for machines without CUDA")
def test_without_a_device_it_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="MemorySnapshot needs a CUDA device; torch .* sees no CUDA device"):
        MemorySnapshot(tmp_path / "snapshot.pickle")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none")
def test_running_out_of_memory_leaves_a_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "snapshot.pickle"
    loader = torch.utils.data.DataLoader(torch.zeros(4, 1))
    with pytest.raises(torch.OutOfMemoryError), attach(loader, hooks=[MemorySnapshot(path)]):
        for _ in loader:
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
    assert path.stat().st_size > 0
