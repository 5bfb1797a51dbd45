"""One training step for plain loops: precision, accumulation, clipping, skipped steps, the right divisor of the loss.

Lightning, accelerate and the HF Trainer own their step; give them `Precision(...).to_...()` instead.

Formula (torchtitan and the HF Trainer use the same): with a loss summed over tokens, the gradient of a window of `k`
microbatches over `world` ranks is that of `sum of losses / N`, where N is the number of real tokens in the whole window
on all ranks. DDP and FSDP2 average over ranks, so each loss is multiplied by `world / N`. A mean of means is wrong as
soon as microbatches hold different numbers of tokens.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from forebay.formats.errors import LoaderError, SpecError
from forebay.loaders.hooks.gradients import clip_gradients, first_device, scale_gradients
from forebay.loaders.hooks.precision import Precision
from forebay.loaders.hooks.replicas import Replicas
from forebay.loaders.hooks.updates import on_step, unwrap_optimizer


class LossSum(NamedTuple):
    """A loss summed over tokens (or samples), with how many there were. Return it to have it normalized rightly."""

    total: torch.Tensor
    """Scalar: the sum, not the mean."""
    tokens: int
    """Real tokens of this microbatch, those whose label is not -100. A Python int, so no device is waited for."""
    window_tokens: int | None = None
    """Real tokens of the whole window on all ranks, where the loader planned it and so knows: then the gradients need
    no second factor and the ranks exchange no count. The same in all microbatches of the window."""


Loss = Callable[[nn.Module, Any], torch.Tensor | LossSum]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """How a step is done."""

    precision: Precision = Precision("fp32")
    accumulate: int = 1
    """Microbatches in a window, that is per update."""
    clip_norm: float | None = None
    """Largest norm of all gradients together, applied after the loss scale is taken out."""
    skip_nonfinite: bool = False
    """Leave an update out when the norm of the gradients is not finite, also without a scaler. Needs `clip_norm` (use
    infinity to measure only) and waits for the norm at each update."""
    init_scale: float = 2.0**16
    """First loss scale under fp16."""

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise SpecError(f"accumulate is {self.accumulate}, expected 1 or more microbatches per update")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise SpecError(f"clip_norm is {self.clip_norm}, expected a norm above 0, or None for no clipping")
        if self.skip_nonfinite and self.clip_norm is None:
            raise SpecError(
                "skip_nonfinite looks at the norm that clip_norm measures; set clip_norm (inf to only measure)"
            )


class StepResult(NamedTuple):
    """What one microbatch did."""

    loss: torch.Tensor
    """Detached scalar: the microbatch's own mean. Not synchronized: `.item()` waits for the device."""
    window_ended: bool
    """This microbatch was the last of its window, so an update was tried."""
    updated: bool
    """The parameters really changed: step the learning-rate schedule only then."""
    grad_norm: torch.Tensor | None
    """Norm before clipping, at the end of a window with `clip_norm`."""


class TrainStep:
    """Call it with a batch and a loss; it does the rest.

    ```python
    step = TrainStep(model, optimizer, spec=StepSpec(precision=Precision("bf16"), accumulate=4, clip_norm=1.0))
    for batch in step.over(loader):
        result = step(batch, loss)
        if result.updated:
            scheduler.step()
    ```
    `over` looks one batch ahead, so the last window of an epoch is ended even when it is short.
    """

    def __init__(self, model: nn.Module, optimizer: Any, *, spec: StepSpec | None = None) -> None:
        self.model = model
        self.optimizer = unwrap_optimizer(optimizer)
        self.spec = spec or StepSpec()
        self.device = first_device(model)
        self.replicas = Replicas(model, self.device)
        self.scaler = self.spec.precision.scaler(self.device.type, init_scale=self.spec.init_scale)
        self.updates = 0
        self.skipped = 0
        self._in_window = 0
        self._counted = 0
        self._kind = "mean"
        self._reference: float | None = None
        self._tail = False
        self._stepped = False
        on_step(self.optimizer, updated=self._saw_update, skipped=lambda: None)

    def over(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The batches of one epoch; ends the window at the last one."""
        iterator = iter(loader)
        try:
            batch = next(iterator)
        except StopIteration:
            return
        for following in iterator:
            yield batch
            batch = following
        self._tail = True
        try:
            yield batch
        finally:
            self._tail = False

    def __call__(self, batch: Any, loss: Loss) -> StepResult:
        """Forward, backward, and at the end of a window the update.

        Args:
            batch: passed on to `loss`, on whatever device it is.
            loss: `loss(model, batch)` gives a scalar mean (then all microbatches weigh the same), or a `LossSum`.

        Raises:
            LoaderError: a window mixes means with sums.
        """
        last = self._tail or self._in_window + 1 == self.spec.accumulate
        with self.replicas.synchronize(last):
            with self.spec.precision.autocast(self.device.type):
                found = loss(self.model, batch)
            mean, scaled = self._normalize(found)
            torch.autograd.backward(self.scaler.scale(scaled))
        self._in_window += 1
        if not last:
            return StepResult(mean, False, False, None)
        updated, norm = self._update()
        return StepResult(mean, True, updated, norm)

    def _normalize(self, found: torch.Tensor | LossSum) -> tuple[torch.Tensor, torch.Tensor]:
        """The microbatch's mean for the log, and the loss to differentiate.

        The window's token count is known only at its end, so sums are divided by a reference that is the same on all
        ranks and in all windows (the first microbatch's count), and the gradients get the exact factor before clipping.
        """
        kind = "mean"
        if isinstance(found, LossSum):
            kind = "planned sum" if found.window_tokens else "sum"
        if self._in_window and kind != self._kind:
            raise LoaderError(
                f"microbatch {self._in_window + 1} of the window has a {kind}, those before a {self._kind}; use one"
            )
        self._kind = kind
        if not isinstance(found, LossSum):
            return found.detach(), found / self.spec.accumulate
        mean = found.total.detach() / max(1, found.tokens)
        if found.window_tokens:
            return mean, found.total * (self.replicas.world / found.window_tokens)
        if self._reference is None:
            self._reference = self.replicas.first(float(max(1, found.tokens)))
        self._counted += found.tokens
        return mean, found.total / self._reference

    def _update(self) -> tuple[bool, torch.Tensor | None]:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.scaler.unscale_(self.optimizer)
        scale_gradients(parameters, self._window_factor())
        norm = None
        if self.spec.clip_norm is not None:
            norm = clip_gradients(parameters, self.spec.clip_norm)
        self._stepped = False
        if not (self.spec.skip_nonfinite and norm is not None and not bool(torch.isfinite(norm))):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._in_window, self._counted = 0, 0
        self.updates += self._stepped
        self.skipped += not self._stepped
        return self._stepped, norm

    def _window_factor(self) -> float:
        if self._kind == "mean":
            # Means were divided by `accumulate`; a short last window holds fewer.
            return self.spec.accumulate / self._in_window
        if self._kind == "planned sum" or self._reference is None:
            return 1.0
        return self._reference * self.replicas.world / max(1.0, self.replicas.total(float(self._counted)))

    def _saw_update(self) -> None:
        self._stepped = True

    def state_dict(self) -> dict[str, Any]:
        """Loss scale and counters. Save between windows: gradients of a window that is open are not kept.

        Raises:
            LoaderError: a window is open.
        """
        if self._in_window:
            raise LoaderError(
                f"{self._in_window} of {self.spec.accumulate} microbatches of the window are accumulated and would be "
                "lost; save after a result with window_ended"
            )
        return {
            "version": 1,
            "updates": self.updates,
            "skipped": self.skipped,
            "reference": self._reference,
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.updates, self.skipped = state["updates"], state["skipped"]
        self._reference = state["reference"]
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
