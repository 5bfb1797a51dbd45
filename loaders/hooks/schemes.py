"""The schemes of torchao that forebay offers, by name: what each quantizes, and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from forebay.formats.errors import SpecError, UnknownNameError
from forebay.loaders.hooks.extras import load_extra, need_cuda

_INT4: Any = getattr(torch, "int4")  # noqa: B009 - torch's own type stub does not list it


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to store weights, and to quantize what flows into them."""

    config: Callable[[Any, int], Any]
    """(torchao.quantization, group size) -> torchao config."""
    says: str
    """What it does, in one clause."""
    grouped: bool = False
    """Weights share a scale in groups along the input width, which must be a multiple of the group size."""
    trainable: bool = False
    """Quantization-aware training can imitate it exactly."""
    min_sm: int = 0
    """Compute capability that it needs; 0: runs on a CPU too."""
    package: str = ""
    """A further package that it needs."""


def _int8_axis_weights(ao: Any, group: int) -> Any:
    return ao.IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=ao.PerAxis(0))


def _int8_axis_dynamic(ao: Any, group: int) -> Any:
    return ao.Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=ao.PerAxis(0))


def _int4_weights(ao: Any, group: int) -> Any:
    return ao.IntxWeightOnlyConfig(weight_dtype=_INT4, granularity=ao.PerGroup(group))


def _int4_dynamic(ao: Any, group: int) -> Any:
    return ao.Int8DynamicActivationIntxWeightConfig(weight_dtype=_INT4, weight_granularity=ao.PerGroup(group))


SCHEMES: dict[str, Scheme] = {
    "int8_weights": Scheme(_int8_axis_weights, "int8 weights, a scale per output", trainable=True),
    "int8_dynamic": Scheme(_int8_axis_dynamic, "int8 weights, int8 activations per token", trainable=True),
    "int8_matmul": Scheme(
        lambda ao, group: ao.Int8DynamicActivationInt8WeightConfig(),
        "int8 weights and activations, multiplied in int8 (fast under torch.compile)",
    ),
    "int4_weights": Scheme(_int4_weights, "int4 weights, a scale per group", grouped=True, trainable=True),
    "int4_dynamic": Scheme(_int4_dynamic, "int4 weights, int8 activations per token", grouped=True, trainable=True),
    "int4_tensor_core": Scheme(
        lambda ao, group: ao.Int4WeightOnlyConfig(group_size=group),
        "int4 weights packed for tensor cores",
        grouped=True,
        min_sm=80,
        package="mslk",
    ),
    "float8_weights": Scheme(lambda ao, group: ao.Float8WeightOnlyConfig(), "float8 weights"),
    "float8_dynamic": Scheme(
        lambda ao, group: ao.Float8DynamicActivationFloat8WeightConfig(),
        "float8 weights and activations",
        min_sm=89,
    ),
}


def scheme_named(name: str, *, recipe: str) -> Scheme:
    """Look a scheme up.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in SCHEMES:
        raise UnknownNameError.of("scheme", name, SCHEMES, where=recipe)
    return SCHEMES[name]


def load_torchao(used_for: str) -> Any:
    """`torchao.quantization`."""
    return load_extra("torchao.quantization", extra="hooks", used_for=used_for)


def torchao_config(name: str, group_size: int, *, recipe: str) -> Any:
    """The torchao config of a scheme, once the machine is known to have what it needs.

    Raises:
        SpecError: torchao, a further package or a device is missing; names it.
    """
    scheme = scheme_named(name, recipe=recipe)
    ao = load_torchao(f"{recipe}({name!r})")
    if scheme.min_sm:
        need_cuda(f"{recipe}({name!r})", min_sm=scheme.min_sm)
    if scheme.package:
        load_extra(scheme.package, extra="hooks", used_for=f"{recipe}({name!r})")
    return scheme.config(ao, group_size)


def check_group_size(group_size: int, *, recipe: str) -> None:
    """Refuse a group size that no kernel has.

    Raises:
        SpecError: it is not 32, 64, 128 or 256.
    """
    if group_size not in (32, 64, 128, 256):
        raise SpecError(f"{recipe} has group_size={group_size}, expected 32, 64, 128 or 256")
