"""A state of an epoch's end goes on with the epoch that would have come, with workers and without."""

import pytest
import torch
from support.framework_data import make_loader, rows_in

import forebay as fb


def epoch_of(loader: fb.DataLoader) -> list[list[int]]:
    return [rows_in(batch) for batch in loader]


@pytest.mark.parametrize("kind", ["torch", "workers"])
def test_two_more_epochs_come_in_the_same_order(kind: str) -> None:
    """With workers the loader's generator draws once more behind the last snapshot, when its sampler ends."""
    loader = make_loader(kind, "")
    epoch_of(loader)
    state = loader.state_dict()
    expected = [epoch_of(loader), epoch_of(loader)]
    torch.manual_seed(99)
    resumed = make_loader(kind, "")
    resumed.load_state_dict(state)
    assert [epoch_of(resumed), epoch_of(resumed)] == expected


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_distributed_sampler_is_set_to_the_epoch_of_the_state(epoch: int) -> None:
    def make() -> fb.DataLoader:
        return make_loader("sampler", "", ranks={"num_replicas": 2, "rank": 1})

    loader = make()
    loader.sampler.set_epoch(epoch)
    batches = iter(loader)
    begun = [rows_in(next(batches)) for _ in range(3)]
    resumed = make()
    resumed.load_state_dict(loader.state_dict())
    assert resumed.sampler_epoch() == epoch
    assert begun + epoch_of(resumed) == epoch_of(loader)
    resumed.load_state_dict(loader.state_dict())
    assert resumed.sampler_epoch() == epoch + 1
