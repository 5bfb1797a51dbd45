"""Prepare a model for a recipe before the optimizer is made, and finalize it after training.

Both are functions, not callbacks: they replace layers, so they must run where the model is built. In Lightning that is
`configure_model`; with the HF Trainer and accelerate it is before `Trainer(...)` or `prepare`.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import nn

from forebay.formats.errors import SpecError


class Recipe(Protocol):
    """One way to train or run a model in few bits: `PostTraining`, `Qat`, `Float8`, `Lora`."""

    @property
    def pad_multiple(self) -> int:
        """Samples times tokens, and widths, must be multiples of this for the fast kernels; 1 when they need not."""

    def prepare(self, model: nn.Module) -> nn.Module:
        """Change the model for training. Refuses a machine or a library that cannot do it, before anything changes."""

    def finalize(self, model: nn.Module) -> nn.Module:
        """Change the trained model for use."""


def prepare_model(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Make the model ready to be trained by the recipe. Call it before the optimizer is made, and before DDP or FSDP2.

    Returns:
        The model, changed in place where the library allows it: use what is returned.

    Raises:
        SpecError: a library or device is missing (names it), or no layer fits the recipe.
    """
    return recipe.prepare(model)


def finalize_model(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Make the trained model ready for use: quantize, convert, or take scaffolding off.

    Returns:
        The model, changed in place where the library allows it: use what is returned.

    Raises:
        SpecError: a library or device is missing (names it), or no layer fits the recipe.
    """
    return recipe.finalize(model)


def chosen_linears(
    model: nn.Module, *, skip: tuple[str, ...], fits: Callable[[nn.Linear], bool], recipe: str
) -> dict[str, nn.Linear]:
    """The Linear layers that a recipe replaces, by name.

    Args:
        model: searched in whole.
        skip: names to leave alone; a name also covers what lies under it ("head" covers "head.out").
        fits: whether the sizes of a layer suit the recipe.
        recipe: for the message.

    Raises:
        SpecError: a name in `skip` does not exist, or no layer is left.
    """
    names = {name for name, _ in model.named_modules()}
    unknown = sorted(set(skip) - names)
    if unknown:
        raise SpecError(f"{recipe} skips {unknown}, which the model does not have; see model.named_modules()")
    chosen = {name: layer for name, layer in _linears(model, skip) if fits(layer)}
    if not chosen:
        sizes = [f"{name} ({layer.in_features} -> {layer.out_features})" for name, layer in _linears(model, ())][:5]
        raise SpecError(f"{recipe} fits no layer of the model; its Linear layers are {', '.join(sizes) or 'none'}")
    return chosen


def _linears(model: nn.Module, skip: tuple[str, ...]) -> Iterator[tuple[str, nn.Linear]]:
    for name, layer in model.named_modules():
        skipped = any(name == other or name.startswith(f"{other}.") for other in skip)
        if isinstance(layer, nn.Linear) and not skipped:
            yield name, layer


def only(chosen: dict[str, nn.Linear]) -> Callable[[Any, str], bool]:
    """The filter that torchao asks for: this module, under this name?"""
    return lambda module, name: name in chosen


def replace_module(model: nn.Module, name: str, *, module: nn.Module) -> nn.Module:
    """Put `module` where `name` is; for the name "" it is the model itself. Returns the model."""
    if not name:
        return module
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
    return model
