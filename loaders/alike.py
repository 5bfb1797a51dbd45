"""Which samples of a batch can be copied to it byte by byte."""

import torch


def alike(one: torch.Tensor, first: torch.Tensor) -> bool:
    """Whether the bytes of a tensor are those that it has in the batch."""
    if type(one) is not torch.Tensor or one.dtype != first.dtype or one.shape != first.shape or not one.is_cpu:
        return False
    plain = one.layout is torch.strided and one.is_contiguous() and not one.is_nested
    return plain and not (one.requires_grad or one.is_conj() or one.is_neg())
