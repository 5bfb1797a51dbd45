"""Pruning: masks that set weights to zero, by magnitude on a schedule, or two of every four.

Masks alone save neither time nor memory: a masked matrix is as large and is multiplied in full (pytorch#36214). They
tell how many weights a model can spare. Time is saved only by `to_semi_structured`, on hardware that has 2:4 sparsity.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.extras import need_cuda
from forebay.loaders.hooks.hook import Context

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prunable(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The Linear and convolution layers of a model, by name."""
    for name, module in model.named_modules():
        if isinstance(module, _KINDS):
            yield name, module


class MagnitudePruning:
    """A hook that masks the smallest weights of the whole model, more of them as training goes on.

    The share follows the cubic schedule of Zhu and Gupta (2017, arXiv:1710.01878):
    `final * (1 - (1 - t)^3)` with t from 0 at `begin` to 1 at `end`. A weight that was masked
    stays zero: it is among the smallest when the mask is made again.
    """

    def __init__(self, final: float, *, begin: int, end: int, every: int = 100, skip: tuple[str, ...] = ()) -> None:
        """
        Args:
            final: share of weights that is zero at the end.
            begin: update at which pruning begins.
            end: update at which `final` is reached.
            every: updates from one change of the mask to the next.
            skip: names of layers to leave alone, such as the last one.

        Raises:
            SpecError: the share or the schedule makes no sense.
        """
        if not 0.0 < final < 1.0 or not 0 <= begin < end or every < 1:
            raise SpecError(
                f"MagnitudePruning has final={final}, begin={begin}, end={end}, every={every}; expected a share "
                "between 0 and 1, 0 <= begin < end, and every >= 1"
            )
        self.final, self.begin, self.end, self.every, self.skip = final, begin, end, every, tuple(skip)

    def share_at(self, step: int) -> float:
        """Share of weights that is masked after this many updates."""
        progress = min(1.0, max(0.0, (step - self.begin) / (self.end - self.begin)))
        return float(self.final * (1.0 - (1.0 - progress) ** 3))

    def on_start(self, ctx: Context) -> None:
        if ctx.model is None:
            raise SpecError("MagnitudePruning has no model; give attach(..., model=model)")
        names = [name for name, _ in prunable(ctx.model)]
        missing = sorted(set(self.skip) - set(names))
        if missing or not set(names) - set(self.skip):
            raise SpecError(f"MagnitudePruning skips {list(self.skip)}; the model's layers are {names}")

    def on_update(self, ctx: Context) -> None:
        due = self.begin <= ctx.step <= self.end and (ctx.step - self.begin) % self.every == 0
        if ctx.model is not None and (due or ctx.step == self.end):
            mask_smallest(ctx.model, self.share_at(ctx.step), skip=self.skip)


def mask_smallest(model: nn.Module, share: float, *, skip: tuple[str, ...] = ()) -> None:
    """Mask this share of all weights, the smallest over all layers together; masks before it are replaced."""
    layers = [module for name, module in prunable(model) if name not in skip]
    for layer in layers:
        _unmask(layer)
    if share > 0.0:
        prune.global_unstructured(
            [(layer, "weight") for layer in layers], pruning_method=prune.L1Unstructured, amount=share
        )


def _unmask(layer: nn.Module) -> None:
    """Write the zeros into the weight and take the mask off. The Parameter stays the one that the optimizer has."""
    if hasattr(layer, "weight_orig"):
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]  # torch leaves it untyped


class _TwoOfFour(prune.BasePruningMethod):
    """Keep the two largest of every four neighbours in a row, the pattern of sparse tensor cores."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        groups = (t.detach() * default_mask).abs().reshape(-1, 4)
        kept = torch.zeros_like(groups).scatter_(1, groups.topk(2, dim=1).indices, 1.0)
        return kept.reshape(t.shape).to(default_mask.dtype)


def mask_two_of_four(model: nn.Module, *, skip: tuple[str, ...] = ()) -> int:
    """Mask two of every four weights of each Linear layer whose input width is a multiple of 4.

    Returns:
        How many layers were masked.
    """
    masked = 0
    for name, layer in prunable(model):
        if isinstance(layer, nn.Linear) and name not in skip and layer.in_features % 4 == 0:
            _unmask(layer)
            _TwoOfFour.apply(layer, "weight")  # type: ignore[no-untyped-call]  # torch leaves it untyped
            masked += 1
    return masked


def finalize_pruning(model: nn.Module) -> float:
    """Write the zeros into the weights and take the masks off.

    Returns:
        Share of the weights of Linear and convolution layers that is zero.
    """
    zeros = total = 0
    for _, layer in prunable(model):
        _unmask(layer)
        weight: Any = layer.weight
        zeros += int((weight == 0).sum())
        total += weight.numel()
    return zeros / max(1, total)


def to_semi_structured(model: nn.Module) -> int:
    """Store 2:4 weights in the compressed form that sparse tensor cores multiply at up to twice the rate.

    For inference in fp16 or bf16. Measure it: for small matrices it is slower (ao#1617).

    Returns:
        How many layers were converted: those whose weight is 2:4 sparse.

    Raises:
        SpecError: no CUDA device of compute capability 8.0 or newer, or no layer is 2:4 sparse.
    """
    need_cuda("to_semi_structured", min_sm=80)
    from torch.sparse import to_sparse_semi_structured

    converted = 0
    for _, layer in prunable(model):
        if isinstance(layer, nn.Linear) and is_two_of_four(layer.weight):
            layer.weight = nn.Parameter(to_sparse_semi_structured(layer.weight.detach()), requires_grad=False)
            converted += 1
    if not converted:
        raise SpecError("no Linear layer is 2:4 sparse; call mask_two_of_four, train, and finalize_pruning first")
    return converted


def is_two_of_four(weight: torch.Tensor) -> bool:
    """At most two of every four neighbours in a row are not zero."""
    return weight.shape[-1] % 4 == 0 and bool(((weight.detach().reshape(-1, 4) != 0).sum(1) <= 2).all())
