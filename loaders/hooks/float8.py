"""Train with float8 matrix products on hardware that has them."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.extras import load_extra, need_cuda
from forebay.loaders.hooks.quantize import chosen_linears, only, replace_module


@dataclass(frozen=True, slots=True)
class Float8:
    """Linear layers whose three matrix products (forward, both of backward) run in float8, by torchao.

    Weights stay in their own dtype, so optimizers and checkpoints are as before. Layers whose widths are not multiples
    of 16 are left alone, since the kernel refuses them. Combine it with `Precision("bf16")` and `torch.compile`:
    without compilation it is slower than bf16 (ao#1297).
    """

    scaling: Literal["tensorwise", "rowwise"] = "tensorwise"
    """One scale per tensor (fastest), or per row (more exact)."""
    skip: tuple[str, ...] = ()
    """Names of layers to leave alone. The first and the last are the usual ones."""
    emulate: bool = False
    """Compute the same roundings in float32 on any device. For tests: it is slow."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "skip", tuple(self.skip))
        if self.scaling not in ("tensorwise", "rowwise"):
            raise SpecError(f"Float8 has scaling={self.scaling!r}, expected 'tensorwise' or 'rowwise'")

    @property
    def pad_multiple(self) -> int:
        """The product of batch and sequence length must be a multiple of 16 (torchao's scaled matrix product)."""
        return 16

    def prepare(self, model: nn.Module) -> nn.Module:
        """Replace the Linear layers."""
        float8 = load_extra("torchao.float8", extra="hooks", used_for="Float8")
        if not self.emulate:
            need_cuda("Float8", min_sm=89 if self.scaling == "tensorwise" else 90)
        layers = chosen_linears(model, skip=self.skip, fits=_fits, recipe="Float8")
        config: Any = float8.Float8LinearConfig(emulate=self.emulate)
        if self.scaling == "rowwise":
            recipe = float8.Float8LinearConfig.from_recipe_name("rowwise")
            fields = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
            config = float8.Float8LinearConfig(**{**fields, "emulate": self.emulate})
        changed: nn.Module = float8.convert_to_float8_training(model, module_filter_fn=only(layers), config=config)
        return changed

    def finalize(self, model: nn.Module) -> nn.Module:
        """Put plain Linear layers back, with the trained weights.

        Raises:
            SpecError: the model has no float8 layer.
        """
        linear = load_extra("torchao.float8.float8_linear", extra="hooks", used_for="Float8").Float8Linear
        found = [(name, module) for name, module in model.named_modules() if isinstance(module, linear)]
        if not found:
            raise SpecError(
                "Float8.finalize found no float8 layer; call prepare_model(model, Float8()) before training"
            )
        for name, module in found:
            with torch.device("meta"):
                plain = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            plain.weight, plain.bias = module.weight, module.bias
            plain.train(module.training)
            model = replace_module(model, name, module=plain)
        return model


def _fits(layer: nn.Linear) -> bool:
    return layer.in_features % 16 == 0 and layer.out_features % 16 == 0
