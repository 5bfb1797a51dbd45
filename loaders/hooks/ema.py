"""An exponential moving average of the weights, moved on by real updates only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from forebay.formats.errors import SpecError, StateError
from forebay.loaders.hooks.gradients import local_tensors
from forebay.loaders.hooks.hook import Context


class Ema:
    """A hook that keeps `average = decay * average + (1 - decay) * weights` in float32, after each real update.

    Under FSDP2 each rank averages its own shard, so nothing is exchanged. Buffers (running means of batch norm) are not
    averaged: inside `swapped` the model uses its own.
    """

    def __init__(self, decay: float = 0.999, *, model: nn.Module | None = None) -> None:
        """
        Args:
            decay: share of the old average that stays; 0.999 looks back on about 1000 updates.
            model: whose weights; by default the model given to `attach`.

        Raises:
            SpecError: decay is not between 0 and 1.
        """
        if not 0.0 < decay < 1.0:
            raise SpecError(f"Ema has decay={decay}, expected a number between 0 and 1, such as 0.999")
        self.decay = decay
        self._model = model
        self._names: list[str] = []
        self._weights: list[torch.Tensor] = []
        self._whole: list[torch.Tensor] = []
        self._average: list[torch.Tensor] = []
        if model is not None:
            self._follow(model)

    def _follow(self, model: nn.Module) -> None:
        named = [(name, p.detach()) for name, p in model.named_parameters() if p.is_floating_point()]
        self._model = model
        self._names = [name for name, _ in named]
        self._weights = local_tensors([weight for _, weight in named])
        # Under FSDP2 the average is a DTensor as the weight is, so a sharded checkpoint can cut it anew.
        self._whole = [weight.to(torch.float32, copy=True) for _, weight in named]
        self._average = local_tensors(self._whole)

    def on_start(self, ctx: Context) -> None:
        if self._model is None:
            if ctx.model is None:
                raise SpecError("Ema has no model; give attach(..., model=model) or Ema(model=model)")
            self._follow(ctx.model)

    @torch.no_grad()
    def on_update(self, ctx: Context) -> None:
        weights = [w if w.dtype == torch.float32 else w.float() for w in self._weights]
        torch._foreach_lerp_(self._average, weights, 1.0 - self.decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The model has the averaged weights inside the `with`, and its own again after it."""
        own = [weight.clone() for weight in self._weights]
        self._write(self._average)
        try:
            yield
        finally:
            self._write(own)

    @torch.no_grad()
    def _write(self, values: list[torch.Tensor]) -> None:
        torch._foreach_copy_(self._weights, values)

    def state_dict(self) -> dict[str, Any]:
        """The average by parameter name; under FSDP2 DTensors, which `save_sharded` writes."""
        return {"decay": self.decay, "average": dict(zip(self._names, self._whole, strict=True))}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the average back.

        Raises:
            StateError: it is the average of another model.
        """
        saved = state_dict["average"]
        if list(saved) != self._names:
            odd = sorted(set(saved) ^ set(self._names))[:3]
            raise StateError(f"the saved average is of another model: it differs in {', '.join(odd) or 'order'}")
        for name, average in zip(self._names, self._whole, strict=True):
            if saved[name].shape != average.shape:
                raise StateError(
                    f"the saved average of {name!r} has shape {tuple(saved[name].shape)}, the model's has "
                    f"{tuple(average.shape)}; build the model that was saved"
                )
            average.copy_(saved[name])
