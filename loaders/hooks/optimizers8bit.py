"""AdamW with its state in 8 bits, from the library that is there, and the fused one where none is."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.extras import load_extra

Backend = Literal["auto", "bitsandbytes", "torchao", "fused"]


def adamw(
    parameters: Iterable[Any],
    *,
    lr: float,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    backend: Backend = "auto",
) -> Optimizer:
    """AdamW whose two moments take 2 bytes a parameter instead of 8 (Dettmers et al. 2021, arXiv:2110.02861).

    Args:
        parameters: parameters or groups, as torch takes them.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        betas: decay of the moments.
        backend: `bitsandbytes` (any device that it supports), `torchao` (also for the DTensors of FSDP2; compiles on
            the first step), `fused` (torch's own, in the parameters' precision). `auto` takes torchao for DTensors,
            else bitsandbytes, else torchao, else fused: the first that is installed.

    Raises:
        SpecError: there is no such backend, or its library is not installed.
    """
    groups = list(parameters)
    makers = {"bitsandbytes": _bitsandbytes, "torchao": _torchao, "fused": _fused}
    settings: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "betas": betas}
    if backend != "auto":
        if backend not in makers:
            raise SpecError(f"backend is {backend!r}, expected auto, {', '.join(makers)}")
        return makers[backend](groups, settings)
    order = ["torchao", "fused"] if _has_dtensor(groups) else ["bitsandbytes", "torchao", "fused"]
    for name in order[:-1]:
        try:
            return makers[name](groups, settings)
        except SpecError:
            continue
    return makers[order[-1]](groups, settings)


def _has_dtensor(groups: list[Any]) -> bool:
    from torch.distributed.tensor import DTensor

    flat = [p for group in groups for p in (group["params"] if isinstance(group, dict) else [group])]
    return any(isinstance(parameter, DTensor) for parameter in flat)


def _bitsandbytes(groups: list[Any], settings: dict[str, Any]) -> Optimizer:
    made: Optimizer = load_extra("bitsandbytes.optim", extra="hooks", used_for="8-bit AdamW").AdamW8bit(
        groups, **settings
    )
    return made


def _torchao(groups: list[Any], settings: dict[str, Any]) -> Optimizer:
    made: Optimizer = load_extra("torchao.optim", extra="hooks", used_for="8-bit AdamW").AdamW8bit(groups, **settings)
    return made


def _fused(groups: list[Any], settings: dict[str, Any]) -> Optimizer:
    return torch.optim.AdamW(groups, fused=True, **settings)
