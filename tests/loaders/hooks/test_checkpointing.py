"""Checkpointed blocks give the same gradients, hold fewer activations, and keep their names."""

import pytest
import torch
from torch import nn

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.checkpointing import checkpoint_blocks


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*[Block() for _ in range(4)])


def saved_bytes_and_gradients(model: nn.Module) -> tuple[int, list[torch.Tensor]]:
    held = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal held
        held += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(1)
    x = torch.randn(32, 6, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x).square().sum()
    loss.backward()
    return held, [p.grad for p in model.parameters()]


def test_gradients_are_equal_with_dropout_and_less_is_held() -> None:
    plain, checkpointed = make(), make()
    assert checkpoint_blocks(checkpointed, Block) == 4
    held, gradients = saved_bytes_and_gradients(plain)
    held_less, same = saved_bytes_and_gradients(checkpointed)
    torch.testing.assert_close(same, gradients, rtol=0, atol=0)
    assert held_less < held / 4


def test_names_stay_and_eval_is_untouched() -> None:
    plain, checkpointed = make(), make()
    assert checkpoint_blocks(checkpointed, Block, every=2) == 2
    assert checkpoint_blocks(checkpointed, Block, every=2) == 2
    assert list(checkpointed.state_dict()) == list(plain.state_dict())
    x = torch.ones(2, 6)
    assert torch.equal(checkpointed.eval()(x), plain.eval()(x))


def test_what_cannot_be_checkpointed_is_named() -> None:
    with pytest.raises(SpecError, match="the model has no LSTM; it has Block, Dropout"):
        checkpoint_blocks(make(), nn.LSTM)
    with pytest.raises(SpecError, match=r"block '0.layers' lies inside block '0'"):
        checkpoint_blocks(nn.ModuleList([Block()]), Block, nn.Sequential)
    with pytest.raises(SpecError, match="name a class"):
        checkpoint_blocks(make())
