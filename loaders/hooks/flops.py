"""How many floating-point operations a training step takes, and how many the device could do."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.tensor_tree import map_tensors

PEAK_BF16: dict[str, float] = {
    # Dense bfloat16 tensor-core rates from the makers' data sheets, in FLOP/s (sparsity not counted).
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "A10": 125e12,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFlops:
    """What a model costs and what the device can do: enough for the model FLOPs utilization (MFU).

    MFU counts the model's own work only, as in PaLM (Chowdhery et al. 2022, appendix B): recomputation under activation
    checkpointing is not counted. Under float8 the number means little, since part of the work runs at another rate.
    """

    per_sample: float = 0.0
    """FLOPs of forward and backward for one sample."""
    per_token: float = 0.0
    """FLOPs of forward and backward for one real token; used when `per_sample` is 0."""
    peak: float
    """FLOP/s of the device at the precision that is used."""

    def __post_init__(self) -> None:
        if self.peak <= 0 or (self.per_sample <= 0) == (self.per_token <= 0):
            raise SpecError(
                f"ModelFlops has per_sample={self.per_sample}, per_token={self.per_token}, peak={self.peak}; "
                "give peak and one of the other two, all above 0"
            )


def count_flops(model: nn.Module, batch: Any, *, loss: Callable[[nn.Module, Any], torch.Tensor]) -> int:
    """FLOPs of one forward and backward pass, counted on the `meta` device: no arithmetic is done, nothing is changed.

    Args:
        model: any module without data-dependent shapes.
        batch: one batch as `loss` takes it: a tensor, or a mapping or sequence of tensors.
        loss: `loss(model, batch) -> scalar`.

    Returns:
        Multiplications and additions of matrix products, convolutions and attention, two per multiply-add. Elementwise
        work is not counted, as is usual for MFU.
    """
    meta_model = copy.deepcopy(model).to("meta")
    counter = FlopCounterMode(display=False)
    with counter:
        loss(meta_model, map_tensors(batch, lambda tensor: tensor.to("meta"))).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return int(counter.get_total_flops())


def peak_flops(device_name: str | None = None) -> float:
    """Dense bf16 FLOP/s of a CUDA device by its name, by default of the current one.

    Raises:
        SpecError: the device is not in the table; give `ModelFlops(peak=...)` from its data sheet.
    """
    if device_name is None:
        if not torch.cuda.is_available():
            raise SpecError("peak_flops() knows CUDA devices only and there is none here; give ModelFlops(peak=...)")
        device_name = torch.cuda.get_device_name()
    for name, rate in PEAK_BF16.items():
        if all(word in device_name.replace("-", " ").split() for word in name.split()):
            return rate
    raise SpecError(
        f"the peak of {device_name!r} is not known (known: {', '.join(PEAK_BF16)}); take the dense bf16 rate from its "
        "data sheet and give ModelFlops(peak=...)"
    )
