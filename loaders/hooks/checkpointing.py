"""Activation checkpointing: forget activations in the forward pass, compute them again in the backward pass."""

from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from forebay.formats.errors import SpecError

_OWN_FORWARD = "_forebay_forward"


def checkpoint_blocks(model: nn.Module, *kinds: type[nn.Module], every: int = 1) -> int:
    """Checkpoint the blocks of a model in place. Parameter names, and so `state_dict` keys, stay as they are.

    Costs one more forward pass of each block in training and saves all activations inside it but its input. In `eval()`
    nothing changes. Use it before DDP, FSDP2 or `torch.compile`.

    Args:
        model: changed in place.
        kinds: classes of the blocks, such as the transformer layer.
        every: checkpoint each `every`-th of them only.

    Returns:
        How many blocks are checkpointed.

    Raises:
        SpecError: no block of these kinds is in the model, or one lies inside another.
    """
    if every < 1 or not kinds:
        raise SpecError(f"checkpoint_blocks got kinds={kinds} and every={every}; name a class, and every must be >= 1")
    blocks = [(name, block) for name, block in model.named_modules() if isinstance(block, kinds)]
    if not blocks:
        known = sorted({type(module).__name__ for module in model.modules()})
        wanted = ", ".join(kind.__name__ for kind in kinds)
        raise SpecError(f"the model has no {wanted}; it has {', '.join(known)}")
    for name, _ in blocks:
        outer = next((other for other, _ in blocks if name != other and name.startswith(f"{other}.")), None)
        if outer is not None:
            raise SpecError(f"block {name!r} lies inside block {outer!r}; checkpoint one of the two")
    chosen = [block for _, block in blocks[::every]]
    for block in chosen:
        if _OWN_FORWARD not in block.__dict__:
            _checkpoint_forward(block)
    return len(chosen)


def _checkpoint_forward(block: Any) -> None:
    forward = block.forward
    block.__dict__[_OWN_FORWARD] = forward

    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if block.training:
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        return forward(*args, **kwargs)

    block.forward = recomputed
