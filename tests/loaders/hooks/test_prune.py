"""Masks take the share and the pattern they promise; speed is claimed only where hardware gives it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.prune import (
    MagnitudePruning,
    finalize_pruning,
    is_two_of_four,
    mask_smallest,
    mask_two_of_four,
    to_semi_structured,
)


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 5))


def test_masking_follows_the_cubic_schedule_and_zeros_stay_zero_while_training() -> None:
    model = make()
    loader = DataLoader(TensorDataset(torch.randn(24, 8)), batch_size=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    pruning = MagnitudePruning(0.6, begin=2, end=10, every=4)
    shares = []
    with attach(loader, optimizer, hooks=[pruning], model=model):
        for (x,) in loader:
            model(x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            weights = torch.cat([layer.weight.flatten() for layer in (model[0], model[2])])
            shares.append(round(float((weights == 0).float().mean()), 2))
    model(x)
    expected = [0.0] * 5 + [round(0.6 * (1 - 0.5**3), 2)] * 4 + [0.6] * 3
    assert shares == pytest.approx(expected, abs=0.011)
    assert finalize_pruning(model) == pytest.approx(0.6, abs=0.01)
    assert set(model.state_dict()) == set(make().state_dict())
    assert {id(p) for p in model.parameters()} == {id(p) for p in optimizer.param_groups[0]["params"]}


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 100))
def test_the_smallest_weights_of_all_layers_go_first(share: float, seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 20), nn.Linear(20, 5))
    before = torch.cat([layer.weight.detach().flatten() for layer in model]).abs()
    mask_smallest(model, share)
    zero = torch.cat([(layer.weight == 0).flatten() for layer in model])
    assert int(zero.sum()) == round(share * before.numel())
    assert before[zero].max() <= before[~zero].min()


def test_skipped_layers_are_left_alone() -> None:
    model = make()
    mask_smallest(model, 0.5, skip=("2",))
    assert (model[0].weight == 0).float().mean() == 0.5 and not (model[2].weight == 0).any()


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 6), groups=st.integers(1, 5), seed=st.integers(0, 100))
def test_two_of_four_keeps_the_two_largest(rows: int, groups: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(4 * groups, rows)
    before = layer.weight.detach().abs().reshape(-1, 4)
    assert mask_two_of_four(nn.Sequential(layer)) == 1
    kept = (layer.weight != 0).reshape(-1, 4)
    assert (kept.sum(1) == 2).all() and is_two_of_four(layer.weight)
    oracle = torch.zeros_like(before, dtype=torch.bool).scatter_(1, before.argsort(1)[:, 2:], True)
    assert torch.equal(kept, oracle)


def test_widths_that_are_no_multiple_of_four_are_left_out() -> None:
    assert mask_two_of_four(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4))) == 1
    assert not is_two_of_four(torch.zeros(2, 6))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the message is for machines without CUDA")
def test_speed_is_refused_where_hardware_does_not_have_it() -> None:
    with pytest.raises(SpecError, match="to_semi_structured needs a CUDA device of compute capability 8.0"):
        to_semi_structured(make())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none")
def test_compressed_layers_compute_the_same() -> None:
    model = nn.Sequential(nn.Linear(128, 128)).half().cuda()
    with pytest.raises(SpecError, match="no Linear layer is 2:4 sparse"):
        to_semi_structured(model)
    mask_two_of_four(model)
    finalize_pruning(model)
    x = torch.randn(64, 128, device="cuda", dtype=torch.float16)
    expected = model(x)
    assert to_semi_structured(model) == 1
    torch.testing.assert_close(model(x), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("final", "begin", "end", "every"),
    [(1.0, 0, 5, 1), (0.5, 5, 5, 1), (0.5, 0, 5, 0)],
)
def test_wrong_schedules_are_refused(final, begin, end, every) -> None:
    with pytest.raises(SpecError, match="expected a share between 0 and 1"):
        MagnitudePruning(final, begin=begin, end=end, every=every)


def test_a_model_is_needed_and_names_must_exist() -> None:
    loader = DataLoader(TensorDataset(torch.zeros(1, 1)))
    with pytest.raises(SpecError, match="has no model"):
        attach(loader, hooks=[MagnitudePruning(0.5, begin=0, end=1)])
    with pytest.raises(SpecError, match=r"skips \['head'\]; the model's layers are \['0', '2'\]"):
        attach(loader, hooks=[MagnitudePruning(0.5, begin=0, end=1, skip=("head",))], model=make())
