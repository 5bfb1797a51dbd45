"""A run that is saved in mid-epoch goes on with the same losses to the last bit, on any number of ranks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.rank_checkpoints import sharded_save_message, train
from support.ranks import on_ranks
from support.resumable_loader import ResumableLoader
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from forebay.formats.errors import CorruptError, SpecError, StateError
from forebay.loaders.hooks.checkpoint import RngState, load_checkpoint, save_checkpoint
from forebay.loaders.hooks.checkpoint_sharded import PARTS, load_sharded, save_sharded

FIRST, SECOND = 4, 5  # updates before and after saving: the epoch has 6, so the second part crosses its end


def in_global_order(per_rank: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    return [loss for together in zip(*per_rank, strict=True) for loss in together]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return train(0, 1, str(tmp_path_factory.mktemp("whole") / "run.pt"), False, FIRST + SECOND)


@pytest.mark.parametrize(("worlds"), [(1, 1), (2, 1), (1, 2)], ids=["1 to 1", "2 to 1", "1 to 2"])
def test_losses_and_weights_are_equal_to_the_last_bit(worlds: tuple[int, int], uninterrupted: Any, tmp_path) -> None:
    path = str(tmp_path / "deep" / "run.pt")
    before, after = worlds
    first = on_ranks(2, train, path, False, FIRST) if before == 2 else [train(0, 1, path, False, FIRST)]
    second = on_ranks(2, train, path, True, SECOND) if after == 2 else [train(0, 1, path, True, SECOND)]
    found = in_global_order([r[0] for r in first]) + in_global_order([r[0] for r in second])
    losses, updates, weights, average = uninterrupted
    assert [float(loss) for loss in found] == [float(loss) for loss in losses]
    assert second[0][1] == updates == FIRST + SECOND
    torch.testing.assert_close(second[0][2], weights, rtol=0, atol=0)
    torch.testing.assert_close(second[0][3], average, rtol=0, atol=0)


@pytest.mark.slow
def test_shards_of_two_ranks_go_on_in_one_process(uninterrupted: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "sharded")
    first = on_ranks(2, train, path, False, FIRST, True)
    second = on_ranks(1, train, path, True, SECOND, True)[0]
    found = in_global_order([r[0] for r in first]) + second[0]
    losses, updates, weights, average = uninterrupted
    torch.testing.assert_close(found, losses, rtol=1e-6, atol=1e-6)
    assert second[1] == updates
    torch.testing.assert_close(second[2], weights, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second[3], average, rtol=1e-5, atol=1e-6)


def make() -> tuple[nn.Module, torch.optim.Optimizer, ResumableLoader]:
    model = nn.Linear(4, 3)
    return model, torch.optim.SGD(model.parameters(), lr=0.1), ResumableLoader()


def test_the_random_state_goes_on() -> None:
    rng = RngState()
    saved = rng.state_dict()
    expected = torch.rand(3)
    rng.load_state_dict(saved)
    assert torch.equal(torch.rand(3), expected)


def test_a_failed_save_leaves_the_checkpoint_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer, loader = make()
    path = tmp_path / "run.pt"
    save_checkpoint(path, model=model, loader=loader)
    before = path.read_bytes()

    def full(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, model=model, loader=loader)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    model, optimizer, loader = make()
    path = tmp_path / "run.pt"
    save_checkpoint(path, model=model, loader=loader)
    with pytest.raises(StateError, match=r"holds the parts \['loader', 'model'\], asked for are \['model'\]"):
        load_checkpoint(path, model=model)
    stock = DataLoader(TensorDataset(torch.zeros(2)))
    with pytest.raises(SpecError, match="part 'loader' is a DataLoader without state_dict"):
        save_checkpoint(path, model=model, loader=stock)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CorruptError, match="run.pt is no whole checkpoint.*use the one before it"):
        load_checkpoint(path, model=model, loader=loader)


@pytest.mark.slow
def test_shards_do_not_go_into_one_file(tmp_path: Path) -> None:
    (message,) = on_ranks(1, sharded_save_message, str(tmp_path / "run.pt"))
    assert message.startswith("part 'model' holds shards") and "save_sharded" in message
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_sharded_checkpoint_is_refused(tmp_path: Path) -> None:
    model, optimizer, loader = make()
    folder = tmp_path / "step"
    save_sharded(folder, model=model, optimizer=optimizer, loader=loader)
    load_sharded(folder, model=model, optimizer=optimizer, loader=loader)
    with pytest.raises(StateError, match=r"holds the parts \['loader'\], asked for are \[\]"):
        load_sharded(folder, model=model, optimizer=optimizer)
    (folder / PARTS).unlink()
    with pytest.raises(StateError, match="the checkpoint was not finished; use the one before it"):
        load_sharded(folder, model=model, optimizer=optimizer, loader=loader)
