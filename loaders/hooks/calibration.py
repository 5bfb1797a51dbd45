"""Run a few batches through a model to learn the range of what flows into each layer."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from forebay.formats.errors import SpecError


def call_with_batch(model: nn.Module, batch: Any) -> Any:
    """`model(**batch)` for mappings, `model(first)` for tuples (features come first), `model(batch)` otherwise."""
    if isinstance(batch, dict):
        return model(**batch)
    return model(batch[0] if isinstance(batch, list | tuple) else batch)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which batches to look at. Take a loader of training data in a fixed order and without augmentation."""

    loader: Iterable[Any]
    """Gives batches on the model's device."""
    batches: int = 32
    """How many of them; a few hundred samples are enough for ranges."""
    forward: Callable[[nn.Module, Any], Any] = call_with_batch
    """How to call the model with one."""

    def __post_init__(self) -> None:
        if self.batches < 1:
            raise SpecError(f"Calibration has batches={self.batches}, expected 1 or more")


@torch.no_grad()
def input_ranges(
    model: nn.Module, layers: dict[str, nn.Linear], *, calibration: Calibration
) -> dict[str, torch.Tensor]:
    """The largest magnitude that flows into each layer.

    Returns:
        A float32 scalar per layer name.

    Raises:
        SpecError: the loader gave no batch, or a layer was never reached.
    """
    largest: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, Any], None]:
        def before(module: nn.Module, args: Any) -> None:
            seen = args[0].detach().abs().amax().float()
            largest[name] = torch.maximum(largest[name], seen) if name in largest else seen

        return before

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    was_training = model.training
    model.eval()
    count = 0
    try:
        for batch in itertools.islice(calibration.loader, calibration.batches):
            calibration.forward(model, batch)
            count += 1
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    missed = sorted(set(layers) - set(largest))
    if missed:
        raise SpecError(
            f"calibration over {count} batches never reached {', '.join(missed[:3])}; give a loader with batches, or "
            "skip layers that the model does not use"
        )
    return largest
