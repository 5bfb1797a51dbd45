"""Quantize a trained model: weights only, or weights and what flows into them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.calibration import Calibration, input_ranges
from forebay.loaders.hooks.quantize import chosen_linears, only
from forebay.loaders.hooks.schemes import SCHEMES, check_group_size, load_torchao, scheme_named, torchao_config

STATIC = "int8_static"


@dataclass(frozen=True, slots=True)
class PostTraining:
    """Post-training quantization of the Linear layers, by torchao. Training is as without it.

    `int8_static` takes the ranges of activations from `calibration`; the other schemes measure them in each call or do
    not need them.
    """

    scheme: str = "int8_weights"
    """One of `forebay.loaders.hooks.schemes.SCHEMES`, or `int8_static`."""
    group_size: int = 32
    """Weights that share a scale, in the schemes that have groups."""
    skip: tuple[str, ...] = ()
    """Names of layers to leave alone. The last layer is the usual one."""
    calibration: Calibration | None = None
    """For `int8_static`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "skip", tuple(self.skip))
        check_group_size(self.group_size, recipe="PostTraining")
        if self.scheme != STATIC:
            if self.scheme not in SCHEMES:
                scheme_named(self.scheme, recipe="PostTraining")
            if self.calibration is not None:
                raise SpecError(f"PostTraining({self.scheme!r}) takes no calibration; only {STATIC!r} does")
        elif self.calibration is None:
            raise SpecError(f"PostTraining({STATIC!r}) needs calibration=Calibration(loader)")

    @property
    def pad_multiple(self) -> int:
        return 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Nothing to change yet; refuses now what could not be finalized after days of training."""
        self._config()
        self._layers(model)
        return model

    def finalize(self, model: nn.Module) -> nn.Module:
        """Quantize in place."""
        layers = self._layers(model)
        ao = load_torchao("PostTraining")
        if self.calibration is None:
            ao.quantize_(model, self._config(), filter_fn=only(layers))
            return model
        for name, largest in input_ranges(model, layers, calibration=self.calibration).items():
            # Symmetric int8: the largest magnitude seen maps to 127.
            scale = (largest / 127.0).clamp(min=torch.finfo(torch.float32).eps).reshape(1, 1)
            ao.quantize_(layers[name], static_config(ao, scale))
        return model

    def _config(self) -> Any:
        if self.scheme == STATIC:
            return static_config(load_torchao(f"PostTraining({STATIC!r})"), torch.ones(1, 1))
        return torchao_config(self.scheme, self.group_size, recipe="PostTraining")

    def _layers(self, model: nn.Module) -> dict[str, nn.Linear]:
        grouped = self.scheme != STATIC and SCHEMES[self.scheme].grouped
        return chosen_linears(
            model,
            skip=self.skip,
            fits=lambda layer: not grouped or layer.in_features % self.group_size == 0,
            recipe=f"PostTraining({self.scheme!r})",
        )


def static_config(ao: Any, scale: torch.Tensor) -> Any:
    """torchao's config for weights with a scale per row, and activations with this one scale."""
    return ao.Int8StaticActivationInt8WeightConfig(act_quant_scale=scale, granularity=[ao.PerTensor(), ao.PerRow()])
