"""The average equals torch's own, moves with real updates only, and can be saved."""

import pytest
import torch
from support.rank_steps import make_model
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from forebay.formats.errors import SpecError, StateError
from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.ema import Ema
from forebay.loaders.hooks.hook import Context


def train(model: nn.Module, ema: Ema, oracle: AveragedModel | None = None, scaler: torch.amp.GradScaler | None = None):
    loader = DataLoader(TensorDataset(torch.randn(12, 4, generator=torch.Generator().manual_seed(1))), batch_size=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=scaler is not None)
    with attach(loader, optimizer, hooks=[ema], model=model) as run:
        for number, (x,) in enumerate(loader):
            loss = model(x).square().sum()
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss * (float("inf") if number % 2 else 1.0)).backward()
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad()
            if oracle is not None and (scaler is None or not number % 2):
                oracle.update_parameters(model)
    return run


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "fused steps skipped"])
def test_the_average_is_that_of_torch(scaled: bool) -> None:
    model = make_model()
    oracle = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    oracle.update_parameters(model)  # torch's first update copies, as ours begins with the weights
    ema = Ema(0.9)
    run = train(model, ema, oracle, torch.amp.GradScaler("cpu", init_scale=2.0) if scaled else None)
    assert run.ctx.step == (3 if scaled else 6)
    own = [p.detach().clone() for p in model.parameters()]
    with ema.swapped():
        torch.testing.assert_close(list(model.parameters()), list(oracle.module.parameters()))
    torch.testing.assert_close(list(model.parameters()), own, rtol=0, atol=0)


def test_bf16_weights_are_averaged_in_float32() -> None:
    model = nn.Linear(2, 1, bias=False).bfloat16()
    nn.init.zeros_(model.weight)
    ema = Ema(0.999, model=model)
    nn.init.ones_(model.weight)
    for _ in range(3):
        ema.on_update(Context(loader=None))
    average = ema.state_dict()["average"]["weight"]
    assert average.dtype == torch.float32
    torch.testing.assert_close(average, torch.full((1, 2), 1 - 0.999**3), rtol=1e-4, atol=0)


def test_the_average_is_saved_and_put_back() -> None:
    model = make_model()
    ema = Ema(0.9, model=model)
    train(model, ema)
    twin = Ema(0.9, model=make_model())
    twin.load_state_dict(ema.state_dict())
    torch.testing.assert_close(twin.state_dict()["average"], ema.state_dict()["average"], rtol=0, atol=0)
    with pytest.raises(StateError, match="of another model: it differs in 0.bias"):
        Ema(0.9, model=nn.Linear(4, 8)).load_state_dict(ema.state_dict())
    other = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3))
    with pytest.raises(StateError, match=r"'0.weight' has shape \(8, 4\), the model's has \(9, 4\)"):
        Ema(0.9, model=other).load_state_dict(ema.state_dict())


def test_after_an_error_inside_swapped_the_model_has_its_own_weights() -> None:
    model = make_model()
    ema = Ema(0.9, model=model)
    nn.init.ones_(model[0].weight)
    with pytest.raises(KeyError), ema.swapped():
        assert not torch.equal(model[0].weight, torch.ones(8, 4))
        raise KeyError
    assert torch.equal(model[0].weight, torch.ones(8, 4))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SpecError, match="decay=1.0"):
        Ema(1.0)
    loader = DataLoader(TensorDataset(torch.zeros(1, 1)))
    with pytest.raises(SpecError, match=r"Ema has no model; give attach\(\.\.\., model=model\)"):
        attach(loader, hooks=[Ema()])
