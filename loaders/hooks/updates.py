"""Whether an optimizer step really changed the parameters.

`Optimizer.register_step_post_hook` does not fire for a step that `GradScaler` skips, except with `fused=True`: there
the scaler hands `found_inf` to the kernel, the kernel skips in silence, and the hook fires all the same
(accelerate#4242). During the call `found_inf` still hangs on the optimizer, so the hook can ask it.
"""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from forebay.formats.errors import SpecError


def unwrap_optimizer(optimizer: Any) -> Optimizer:
    """The torch optimizer inside the wrapper of accelerate or Lightning.

    Raises:
        SpecError: it is no torch optimizer and wraps none.
    """
    inner = optimizer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    if isinstance(inner, Optimizer):
        return inner
    raise SpecError(
        f"optimizer is a {type(optimizer).__name__}, expected a torch.optim.Optimizer or the wrapper that accelerate "
        "or Lightning makes of one; with several optimizers, attach to the one that steps last"
    )


def was_skipped(optimizer: Optimizer) -> bool:
    """True inside a step post-hook when a fused kernel was told to skip.

    On CUDA this waits for the value, as `GradScaler.step` does for every optimizer that is not fused. Without a scaler
    nothing is read.
    """
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and bool(found_inf)


def on_step(optimizer: Optimizer, *, updated: Callable[[], None], skipped: Callable[[], None]) -> Callable[[], None]:
    """Call `updated` after each real update and `skipped` after each fused step that was skipped.

    Returns:
        A function that removes the hook.
    """

    def after(stepped: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if was_skipped(stepped):
            skipped()
        else:
            updated()

    return optimizer.register_step_post_hook(after).remove
