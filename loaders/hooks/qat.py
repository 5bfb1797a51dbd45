"""Quantization-aware training: train with the rounding that the quantized model will have."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from forebay.formats.errors import SpecError, UnknownNameError
from forebay.loaders.hooks.extras import load_extra
from forebay.loaders.hooks.quantize import chosen_linears, only
from forebay.loaders.hooks.schemes import SCHEMES, check_group_size, load_torchao, torchao_config


@dataclass(frozen=True, slots=True)
class Qat:
    """Quantization-aware training by torchao.

    `prepare` puts fake-quantized Linear layers in, whose weights stay float and whose names stay the same, so any
    checkpoint fits before and after. `finalize` converts; the result computes exactly what the fake-quantized model
    did in `eval()`.
    """

    scheme: str = "int4_dynamic"
    """`int4_dynamic`, `int4_weights`, `int8_dynamic` or `int8_weights`."""
    group_size: int = 32
    """Weights that share a scale, in the int4 schemes."""
    skip: tuple[str, ...] = ()
    """Names of layers to leave alone. The last layer is the usual one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "skip", tuple(self.skip))
        check_group_size(self.group_size, recipe="Qat")
        known = [name for name, scheme in SCHEMES.items() if scheme.trainable]
        if self.scheme not in known:
            raise UnknownNameError.of("scheme", self.scheme, known, where="Qat")

    @property
    def pad_multiple(self) -> int:
        return 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Replace the Linear layers by fake-quantized ones."""
        grouped = SCHEMES[self.scheme].grouped
        layers = chosen_linears(
            model,
            skip=self.skip,
            fits=lambda layer: not grouped or layer.in_features % self.group_size == 0,
            recipe=f"Qat({self.scheme!r})",
        )
        load_torchao("Qat").quantize_(model, self._step("prepare"), filter_fn=only(layers))
        return model

    def finalize(self, model: nn.Module) -> nn.Module:
        """Convert the fake-quantized layers into quantized ones.

        Raises:
            SpecError: the model has none, since `prepare_model` was not called or another recipe was.
        """
        qat = load_extra("torchao.quantization.qat", extra="hooks", used_for="Qat")
        fake = {name for name, module in model.named_modules() if isinstance(module, qat.FakeQuantizedLinear)}
        if not fake:
            raise SpecError(
                "Qat.finalize found no fake-quantized layer; call prepare_model(model, Qat(...)) before training"
            )
        load_torchao("Qat").quantize_(model, self._step("convert"), filter_fn=lambda module, name: name in fake)
        return model

    def _step(self, step: str) -> Any:
        qat = load_extra("torchao.quantization.qat", extra="hooks", used_for="Qat")
        return qat.QATConfig(torchao_config(self.scheme, self.group_size, recipe="Qat"), step=step)
