"""Train small adapters on a frozen base, which may be stored in 4 or 8 bits (QLoRA)."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.extras import load_extra
from forebay.loaders.hooks.quantize import chosen_linears, replace_module


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters by peft on Linear layers frozen by bitsandbytes.

    The weight is `W + alpha / rank * B A`; only A (rank x in) and B (out x rank) are trained, and B begins at zero, so
    the model begins as the base (Hu et al. 2021, arXiv:2106.09685; NF4: Dettmers et al. 2023, arXiv:2305.14314).
    """

    base: Literal["nf4", "int8", "float"] = "nf4"
    """How the frozen weights are stored: 4-bit normal float, int8 with outliers apart, or as they are."""
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    """Share of the adapters' inputs that is dropped in training."""
    targets: tuple[str, ...] = ()
    """Names of the layers, or of what they lie in; empty: all Linear layers but those in `skip`."""
    skip: tuple[str, ...] = ()
    """Names of layers that get no adapter and stay as they are, frozen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        object.__setattr__(self, "skip", tuple(self.skip))
        if self.base not in ("nf4", "int8", "float"):
            raise SpecError(f"Lora has base={self.base!r}, expected 'nf4', 'int8' or 'float'")
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise SpecError(
                f"Lora has rank={self.rank}, alpha={self.alpha}, dropout={self.dropout}; expected rank >= 1, "
                "alpha > 0, 0 <= dropout < 1"
            )

    @property
    def pad_multiple(self) -> int:
        return 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Freeze and store the base, and put adapters on it. What is trainable then are the adapters alone."""
        peft = load_extra("peft", extra="hooks", used_for="Lora")
        targets = self._targets(model)
        model.requires_grad_(False)
        if self.base != "float":
            bnb = load_extra("bitsandbytes", extra="hooks", used_for=f"Lora(base={self.base!r})")
            for name, layer in targets.items():
                frozen = _nf4(bnb, layer) if self.base == "nf4" else _int8(bnb, layer)
                model = replace_module(model, name, module=frozen)
            marked: Any = model
            # peft looks here for which adapter class to use.
            setattr(marked, "is_loaded_in_4bit" if self.base == "nf4" else "is_loaded_in_8bit", True)
        # As a pattern, since peft takes a list of names for suffixes and would match more.
        names = "|".join(re.escape(name) for name in targets)
        config = peft.LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=names)
        adapted: nn.Module = peft.inject_adapter_in_model(config, model)
        return adapted

    def finalize(self, model: nn.Module) -> nn.Module:
        """On a float base, add the adapters into the weights and take them off. On a stored base they stay, since
        adding them in would round them away: save them with `adapter_state`."""
        layers = adapted_layers(model)
        if self.base == "float":
            for name, layer in layers.items():
                layer.merge(safe_merge=True)
                model = replace_module(model, name, module=layer.get_base_layer())
        return model

    def _targets(self, model: nn.Module) -> dict[str, nn.Linear]:
        chosen = chosen_linears(model, skip=self.skip, fits=lambda layer: True, recipe="Lora")
        if self.targets:
            wanted = {name: layer for name, layer in chosen.items() if any(_named(name, t) for t in self.targets)}
            missing = [target for target in self.targets if not any(_named(name, target) for name in wanted)]
            if missing:
                raise SpecError(
                    f"Lora targets {missing}, but no Linear layer is named so; there are {list(chosen)[:8]}"
                )
            chosen = wanted
        if "" in chosen:
            raise SpecError("Lora cannot adapt a model that is one Linear layer; put it into nn.Sequential")
        return chosen


def _named(name: str, target: str) -> bool:
    """Whether a layer is called this, or lies in something that is."""
    return f".{target}." in f".{name}."


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """The layers that carry adapters, by name.

    Raises:
        SpecError: there are none.
    """
    tuners = load_extra("peft.tuners.lora", extra="hooks", used_for="Lora")
    found = {name: module for name, module in model.named_modules() if isinstance(module, tuners.LoraLayer)}
    if not found:
        raise SpecError("the model has no adapters; call prepare_model(model, Lora(...)) before training")
    return found


def adapter_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The adapters' tensors alone, by name: a few megabytes instead of the whole model."""
    peft = load_extra("peft", extra="hooks", used_for="Lora")
    adapted_layers(model)
    return dict(peft.get_peft_model_state_dict(model))


def load_adapter_state(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Put adapters back into a model that was prepared by the same recipe.

    Raises:
        SpecError: the tensors are those of other layers.
    """
    peft = load_extra("peft", extra="hooks", used_for="Lora")
    odd = sorted(set(state) ^ set(adapter_state(model)))
    if odd:
        raise SpecError(f"the adapters are of another model or recipe: they differ in {', '.join(odd[:3])}")
    peft.set_peft_model_state_dict(model, state)


def _nf4(bnb: Any, layer: nn.Linear) -> nn.Module:
    stored = bnb.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=layer.weight.dtype,
        quant_type="nf4",
        device="meta",
    )
    stored.weight = bnb.nn.Params4bit(layer.weight.detach(), requires_grad=False, quant_type="nf4", module=stored)
    return _with_bias(stored, layer)


def _int8(bnb: Any, layer: nn.Linear) -> nn.Module:
    stored = bnb.nn.Linear8bitLt(
        layer.in_features, layer.out_features, bias=layer.bias is not None, has_fp16_weights=False, device="meta"
    )
    stored.weight = bnb.nn.Int8Params(layer.weight.detach(), requires_grad=False, has_fp16_weights=False)
    return _with_bias(stored, layer)


def _with_bias(stored: nn.Module, layer: nn.Linear) -> nn.Module:
    """bitsandbytes quantizes when the layer is moved to its device."""
    stored.bias = layer.bias
    return stored.to(layer.weight.device).train(layer.training)
