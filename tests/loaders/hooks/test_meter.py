"""The meter's figures are those of the clock it was given, and its verdict fits them."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.flops import ModelFlops, count_flops, peak_flops
from forebay.loaders.hooks.hook import Context
from forebay.loaders.hooks.meter import Meter, percentile
from forebay.loaders.hooks.verdict import verdict


def drive(meter: Meter, steps: list[tuple[float, float, bool]], loader: Any = None) -> Context:
    """Feed (wait, compute, exposed) triples of seconds, each a batch of 4 samples with 10 real tokens in 16 places."""
    ctx = Context(loader=loader)
    meter.on_start(ctx)
    now = 100.0
    for wait, compute, exposed in [*steps, (0.0, 0.0, True)]:
        ctx.fetch_began_s, ctx.wait_s, ctx.exposed = now, wait, exposed
        ctx.microbatch += 1
        ctx.samples, ctx.tokens, ctx.padded_tokens = ctx.samples + 4, ctx.tokens + 10, ctx.padded_tokens + 16
        meter.on_batch(ctx, None)
        now += wait + compute
    return ctx


def test_rates_ratios_and_percentiles_are_exact() -> None:
    meter = Meter()
    ctx = drive(meter, [(1.0, 3.0, True), (2.0, 2.0, False), (0.0, 4.0, True), (0.0, 8.0, True)])
    found = meter.record(ctx)
    expected = {
        "samples_per_second": 16 / 20,
        "tokens_per_second": 40 / 20,
        "padded_tokens_per_second": 64 / 20,
        "wait_ratio": 3 / 20,
        "exposed_wait_ratio": 1 / 20,
        "bottleneck_ratio": 1 / 4,
        "wait_seconds_p50": 0.0,
        "wait_seconds_p99": 2.0,
        "step_seconds_p50": 4.0,
        "step_seconds_p99": 8.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_only_the_newest_steps_count() -> None:
    meter = Meter(window=3)
    ctx = drive(meter, [(9.0, 1.0, True)] * 5 + [(0.0, 2.0, True)] * 3)
    assert meter.record(ctx)["wait_ratio"] == 0 and meter.record(ctx)["samples_per_second"] == pytest.approx(2.0)


def test_mfu_is_work_done_over_work_possible() -> None:
    by_sample = Meter(flops=ModelFlops(per_sample=50.0, peak=1000.0))
    ctx = drive(by_sample, [(0.0, 1.0, True)])
    assert by_sample.record(ctx)["mfu_ratio"] == pytest.approx(4 * 50 / 1000)
    by_token = Meter(flops=ModelFlops(per_token=50.0, peak=1000.0))
    ctx = drive(by_token, [(0.0, 1.0, True)])
    assert by_token.record(ctx)["mfu_ratio"] == pytest.approx(10 * 50 / 1000)


def test_records_go_out_every_so_many_steps_and_at_the_end() -> None:
    written: list[tuple[int, Any]] = []
    sink = SimpleNamespace(write=lambda step, record: written.append((step, record)))
    loader = DataLoader(TensorDataset(torch.zeros(10, 2)), batch_size=1)
    with attach(loader, hooks=[Meter(sinks=[sink], every=4)]):
        for _ in loader:
            pass
    assert [step for step, _ in written] == [5, 9, 10]
    assert all(record["samples_per_second"] > 0 for _, record in written)


def test_a_meter_without_steps_writes_nothing() -> None:
    written: list[Any] = []
    meter = Meter(sinks=[SimpleNamespace(write=lambda step, record: written.append(step))])
    loader = DataLoader(TensorDataset(torch.zeros(1, 2)))
    with attach(loader, hooks=[meter]) as run:
        list(loader)
        assert meter.record(run.ctx) == {}
    assert written == []


@pytest.mark.parametrize(
    ("blocked", "waited", "loader", "expected"),
    [
        (0.0, 0.02, None, "compute is the bottleneck: the loader is waited for in 2% of steps"),
        (0.0, 0.4, None, "the loop waits for the loader in 40% of steps, but the device still has work then"),
        (
            0.31,
            0.4,
            SimpleNamespace(slowest_stage=lambda: "decode"),
            "the loader is the bottleneck in 31% of steps: decode; raise threads or cache",
        ),
        (
            0.3,
            0.3,
            SimpleNamespace(slowest_stage=lambda: "mystery"),
            "in 30% of steps: mystery; raise threads or cache",
        ),
        (0.3, 0.3, SimpleNamespace(num_workers=0), r"made in the loop itself \(num_workers=0\); set num_workers"),
        (0.3, 0.3, SimpleNamespace(num_workers=2), "2 workers are too few"),
        (0.3, 0.3, SimpleNamespace(loader=SimpleNamespace(num_workers=2)), "2 workers are too few"),
        (0.3, 0.3, None, "prepare batches ahead of the loop"),
    ],
)
def test_the_verdict_says_who_waits_and_what_to_do(blocked, waited, loader, expected) -> None:
    assert re.search(expected if "\\" in expected else re.escape(expected), verdict(blocked, waited, loader=loader))


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(i) for i in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([3.0], 0.99)) == (50.0, 99.0, 3.0)


def test_flops_are_counted_without_doing_them() -> None:
    model = nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, bias=False))
    before = [p.detach().clone() for p in model.parameters()]
    batch = {"x": torch.zeros(5, 8), "y": [torch.zeros(5, 4)], "name": "kept"}
    found = count_flops(model, batch, loss=lambda m, b: (m(b["x"]) - b["y"][0]).square().sum())
    # Forward 2mnk a layer; backward twice that, less the gradient of the input of the first layer.
    assert found == 5 * 2 * (8 * 16 * 2 + 16 * 4 * 3)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))


def test_the_peak_comes_from_the_device_name() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA A100-SXM4-40GB") == 312e12
    with pytest.raises(SpecError, match="peak of 'NVIDIA Abacus' is not known.*give ModelFlops"):
        peak_flops("NVIDIA Abacus")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Meter(every=0), "every=0"),
        (lambda: Meter(window=0), "window=0"),
        (lambda: ModelFlops(per_sample=1.0, per_token=1.0, peak=1.0), "give peak and one of the other two"),
        (lambda: ModelFlops(per_sample=1.0, peak=0.0), "all above 0"),
    ],
)
def test_wrong_settings_are_refused(make, message) -> None:
    with pytest.raises(SpecError, match=message):
        make()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the message is for machines without CUDA")
def test_without_a_device_the_peak_must_be_given() -> None:
    with pytest.raises(SpecError, match=r"give ModelFlops\(peak"):
        peak_flops()
