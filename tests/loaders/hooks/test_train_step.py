"""`TrainStep` gives the gradient of the whole window, whatever its parts, precision and ranks."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.rank_steps import (
    ddp_weights,
    fsdp_overflow_on_one_rank,
    fsdp_weights,
    loss_sum,
    make_model,
    microbatches,
    planned_sum,
)
from support.ranks import on_ranks
from torch import nn

from forebay.formats.errors import LoaderError, SpecError
from forebay.loaders.hooks.precision import Precision
from forebay.loaders.hooks.train_step import LossSum, StepSpec, TrainStep


def make_step(lr: float = 0.1, fused: bool = False, **spec: Any) -> TrainStep:
    model = make_model()
    return TrainStep(model, torch.optim.SGD(model.parameters(), lr=lr, fused=fused), spec=StepSpec(**spec))


def whole_window_weights(clip: float | None = None) -> list[torch.Tensor]:
    """The oracle: one batch of all tokens, one plain update."""
    model = make_model()
    x, y = (torch.cat(part) for part in zip(*microbatches(), strict=True))
    (F.mse_loss(model(x), y, reduction="sum") / len(x)).backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("loss", [loss_sum, planned_sum])
@pytest.mark.parametrize("accumulate", [8, 20])
def test_uneven_microbatches_weigh_by_their_tokens(loss: Any, accumulate: int) -> None:
    step = make_step(accumulate=accumulate)
    results = [step(batch, loss) for batch in step.over(microbatches())]
    assert [result.window_ended for result in results] == [False] * 7 + [True]
    assert results[-1].updated and step.updates == 1
    torch.testing.assert_close(list(step.model.parameters()), whole_window_weights(), rtol=1e-5, atol=1e-6)


def test_a_mean_of_means_would_have_been_wrong() -> None:
    step = make_step(accumulate=8)
    for batch in step.over(microbatches()):
        step(batch, lambda model, b: F.mse_loss(model(b[0]), b[1], reduction="sum") / len(b[0]))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(list(step.model.parameters()), whole_window_weights(), rtol=1e-5, atol=1e-6)


def test_means_over_a_short_last_window_are_divided_by_what_it_holds() -> None:
    step, other = make_step(accumulate=4), make_step(accumulate=2)
    same = [microbatches(2)[0], microbatches(2)[0]]
    for each in (step, other):
        for batch in each.over(same):
            each(batch, lambda model, b: F.mse_loss(model(b[0]), b[1]))
    torch.testing.assert_close(list(step.model.parameters()), list(other.model.parameters()))


def test_ddp_ranks_with_uneven_tokens_equal_one_process_and_exchange_once() -> None:
    unplanned_and_planned = [found for rank in on_ranks(2, ddp_weights) for found in rank]
    assert len(unplanned_and_planned) == 4
    for weights, exchanged in unplanned_and_planned:
        torch.testing.assert_close(weights, whole_window_weights(), rtol=1e-5, atol=1e-6)
        assert exchanged == 1


def test_fsdp2_shards_equal_one_process_with_clipping() -> None:
    for weights, norm, updates in on_ranks(2, fsdp_weights, "fp32"):
        torch.testing.assert_close(weights, whole_window_weights(clip=0.5), rtol=1e-5, atol=1e-6)
        assert updates == 1 and norm > 0.5


@pytest.mark.slow
def test_fsdp2_under_fp16_scales_and_clips() -> None:
    for weights, norm, updates in on_ranks(2, fsdp_weights, "fp16"):
        torch.testing.assert_close(weights, whole_window_weights(clip=0.5), rtol=2e-2, atol=2e-3)
        assert updates == 1 and norm > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True], ids=["foreach", "fused"])
def test_fsdp2_ranks_skip_together_when_one_shard_overflows(fused: bool) -> None:
    assert on_ranks(2, fsdp_overflow_on_one_rank, fused) == [(1, 1, 128.0, True)] * 2


def test_fp16_clips_after_the_scale_is_taken_out() -> None:
    step = make_step(accumulate=8, clip_norm=0.5, precision=Precision("fp16"), init_scale=1024.0)
    for batch in step.over(microbatches()):
        result = step(batch, loss_sum)
    assert result.grad_norm is not None and 0.5 < float(result.grad_norm) < 50
    torch.testing.assert_close(list(step.model.parameters()), whole_window_weights(clip=0.5), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("fused", [False, True], ids=["foreach", "fused"])
def test_a_skipped_step_is_said_and_the_scale_goes_down(fused: bool) -> None:
    step = make_step(fused=fused, precision=Precision("fp16"), clip_norm=1.0, init_scale=2.0**8)
    before = [p.detach().clone() for p in step.model.parameters()]
    bad = step(microbatches(1)[0], lambda model, b: loss_sum(model, b).total * float("inf"))
    assert (bad.window_ended, bad.updated, step.updates, step.skipped) == (True, False, 0, 1)
    assert step.scaler.get_scale() == 2.0**7
    torch.testing.assert_close(list(step.model.parameters()), before, rtol=0, atol=0)
    assert step(microbatches(1)[0], loss_sum).updated
    assert (step.updates, step.skipped) == (1, 1)


def test_without_a_scaler_a_bad_gradient_can_be_left_out_too() -> None:
    step = make_step(precision=Precision("bf16"), clip_norm=float("inf"), skip_nonfinite=True)
    bad = step(microbatches(1)[0], lambda model, b: loss_sum(model, b).total * float("nan"))
    assert not bad.updated and all(torch.isfinite(p).all() for p in step.model.parameters())
    assert step(microbatches(1)[0], loss_sum).updated


def test_bf16_computes_in_bf16_and_keeps_float32_weights_and_gradients() -> None:
    step, seen = make_step(precision=Precision("bf16")), []

    def loss(model: nn.Module, batch: Any) -> LossSum:
        out = model(batch[0])
        seen.append(out.dtype)
        out.register_hook(lambda grad: seen.append(model[0].weight.dtype))
        return LossSum(F.mse_loss(out.float(), batch[1], reduction="sum"), len(batch[0]))

    step(microbatches(1)[0], loss)
    assert seen == [torch.bfloat16, torch.float32]


def test_state_carries_scale_reference_and_counts() -> None:
    step = make_step(precision=Precision("fp16"), init_scale=2.0**8)
    step(microbatches(1)[0], lambda model, b: loss_sum(model, b)._replace(total=model(b[0]).sum() * float("inf")))
    twin = make_step(precision=Precision("fp16"), init_scale=2.0**8)
    twin.load_state_dict(step.state_dict())
    assert (twin.scaler.get_scale(), twin.skipped, twin.updates) == (2.0**7, 1, 0)
    assert twin.state_dict() == step.state_dict()


def test_an_open_window_cannot_be_saved_nor_mixed() -> None:
    step = make_step(accumulate=3)
    step(microbatches(1)[0], loss_sum)
    with pytest.raises(LoaderError, match="1 of 3 microbatches.*save after a result with window_ended"):
        step.state_dict()
    with pytest.raises(LoaderError, match="microbatch 2 of the window has a mean, those before a sum"):
        step(microbatches(1)[0], lambda model, b: model(b[0]).mean())


def test_an_empty_loader_is_no_window() -> None:
    step = make_step(accumulate=3)
    assert list(step.over([])) == [] and step.updates == 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"accumulate": 0}, "accumulate is 0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"skip_nonfinite": True}, "set clip_norm"),
    ],
)
def test_wrong_settings_are_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        StepSpec(**spec)
