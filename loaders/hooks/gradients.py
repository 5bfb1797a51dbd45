"""Gradients as a whole: their device, a common factor, and their norm. DTensors (FSDP2) are handled as they are."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor


def first_device(model: nn.Module) -> torch.device:
    """Device of the model's first parameter; the CPU for a model without any."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def local_tensors(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """This rank's part of each: the shard of a DTensor, the tensor itself otherwise. Shares memory."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def scale_gradients(parameters: Sequence[torch.Tensor], factor: float) -> None:
    """Multiply all gradients in place. A factor of one costs nothing."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if factor != 1.0 and gradients:
        torch._foreach_mul_(local_tensors(gradients), factor)


def clip_gradients(parameters: Sequence[torch.Tensor], norm: float) -> torch.Tensor:
    """Scale the gradients down to a norm of at most `norm`; returns the norm before, over all shards."""
    before: Any = nn.utils.clip_grad_norm_(parameters, norm)
    return before.full_tensor() if isinstance(before, DTensor) else before
