"""The ops of `DeviceTransform`: widen and normalize, flip, crop, mix.

Shapes: N samples, C channels, H rows, W columns, D random numbers a sample.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.loaders.hooks.device_transform import Parts, image_part, per_channel


@dataclass(frozen=True, slots=True)
class Widen:
    """uint8 pixels to normalized floats: `(pixel / 255 - mean) / std` in float32, rounded once to `dtype`.

    With mean and std in bf16 already, as some libraries have them, the error is several times that of one rounding.
    """

    mean: tuple[float, ...] = (0.0,)
    """Per channel, in units of 0 to 1. One value serves all channels."""
    std: tuple[float, ...] = (1.0,)
    dtype: torch.dtype = torch.float32
    """What the model takes: bf16 under `Precision("bf16")`."""
    name: str | int = "image"
    """Part of the batch, shape (N, C, H, W)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise SpecError(f"Widen has mean={self.mean}, std={self.std}; expected as many of each, and std above 0")

    @property
    def draws(self) -> int:
        return 0

    def apply(self, parts: Parts, drawn_ND: torch.Tensor) -> Parts:
        image = image_part(parts, self.name, op="Widen")
        if image.dtype != torch.uint8:
            raise SchemaError(f"Widen needs {self.name!r} as uint8, found {image.dtype}: something widened it before")
        shift = per_channel([255.0 * m for m in self.mean], image, op="Widen")
        scale = per_channel([1.0 / (255.0 * s) for s in self.std], image, op="Widen")
        return {**parts, self.name: image.float().sub_(shift).mul_(scale).to(self.dtype)}


@dataclass(frozen=True, slots=True)
class RandomFlip:
    """Mirrors left and right, each sample by itself."""

    share: float = 0.5
    """Of the samples that are mirrored."""
    name: str | int = "image"

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise SpecError(f"RandomFlip has share={self.share}, expected 0 to 1")

    @property
    def draws(self) -> int:
        return 1

    def apply(self, parts: Parts, drawn_ND: torch.Tensor) -> Parts:
        image = image_part(parts, self.name, op="RandomFlip")
        mirrored = (drawn_ND[:, 0] < self.share).reshape(-1, 1, 1, 1)
        return {**parts, self.name: torch.where(mirrored, image.flip(-1), image)}


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """Cuts a window of (height, width) at a place of each sample's own, out of the image with a border of zeros."""

    size: tuple[int, int]
    padding: int = 0
    """Width of the border, in pixels."""
    name: str | int = "image"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        if len(self.size) != 2 or min(self.size) < 1 or self.padding < 0:
            raise SpecError(
                f"RandomCrop has size={self.size}, padding={self.padding}; expected (height, width) above 0"
            )

    @property
    def draws(self) -> int:
        return 2

    def apply(self, parts: Parts, drawn_ND: torch.Tensor) -> Parts:
        image = image_part(parts, self.name, op="RandomCrop")
        padded = F.pad(image, (self.padding,) * 4)
        room = [have - want for have, want in zip(padded.shape[2:], self.size, strict=True)]
        if min(room) < 0:
            raise SchemaError(
                f"RandomCrop cuts {self.size} out of {tuple(padded.shape[2:])} (border counted): too small"
            )
        top, left = ((drawn_ND[:, axis] * (room[axis] + 1)).long() for axis in (0, 1))
        rows_NH = top[:, None] + torch.arange(self.size[0], device=image.device)
        columns_NW = left[:, None] + torch.arange(self.size[1], device=image.device)
        samples = torch.arange(len(image), device=image.device)[:, None, None]
        # Indexing around the slice puts the channels last: (N, H, W, C).
        cut = padded[samples, :, rows_NH[:, :, None], columns_NW[:, None, :]]
        return {**parts, self.name: cut.permute(0, 3, 1, 2)}


@dataclass(frozen=True, slots=True)
class MixUp:
    """Blends each sample with the next of the batch, images and labels alike (Zhang et al. 2018, arXiv:1710.09412).

    Labels, class numbers of shape (N,), become float32 shares of shape (N, classes): use a loss that takes shares, as
    `torch.nn.functional.cross_entropy` does. Images must be floats: put it after `Widen`.
    """

    classes: int
    alpha: float = 0.2
    """Shares are drawn from Beta(alpha, alpha): small values blend little."""
    name: str | int = "image"
    label: str | int = "label"

    def __post_init__(self) -> None:
        if self.classes < 2 or not 0.01 <= self.alpha <= 100:
            raise SpecError(
                f"MixUp has classes={self.classes}, alpha={self.alpha}; expected 2 or more, and 0.01 to 100"
            )

    @property
    def draws(self) -> int:
        return 1

    def apply(self, parts: Parts, drawn_ND: torch.Tensor) -> Parts:
        image = image_part(parts, self.name, op="MixUp")
        if not image.is_floating_point() or self.label not in parts:
            raise SchemaError(
                f"MixUp needs {self.name!r} as floats (put it after Widen) and {self.label!r}; found {image.dtype} and "
                f"{sorted(map(str, parts))}"
            )
        share = beta_share(drawn_ND[:, 0], self.alpha)
        onehot = F.one_hot(parts[self.label].long(), self.classes).float()
        mixed_label = torch.lerp(onehot.roll(1, 0), onehot, share[:, None])
        mixed = torch.lerp(image.float().roll(1, 0), image.float(), share.reshape(-1, 1, 1, 1)).to(image.dtype)
        return {**parts, self.name: mixed, self.label: mixed_label}


def beta_share(uniform_N: torch.Tensor, alpha: float) -> torch.Tensor:
    """Uniform numbers in [0, 1) to numbers distributed as Beta(alpha, alpha), by the inverse of its distribution."""
    mass, t = (torch.from_numpy(part).to(uniform_N.device) for part in _beta_table(alpha))
    lower = torch.minimum(uniform_N, 1.0 - uniform_N) * 2.0
    above = torch.searchsorted(mass, lower).clamp_(1, len(mass) - 1)
    between = (lower - mass[above - 1]) / (mass[above] - mass[above - 1])
    share = torch.lerp(t[above - 1], t[above], between.clamp_(0.0, 1.0)) ** (1.0 / min(alpha, 1.0))
    return torch.where(uniform_N < 0.5, share, 1.0 - share)


@functools.lru_cache(maxsize=8)
def _beta_table(alpha: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The distribution of Beta(alpha, alpha) below x = 1/2 as a share of that half, at points t = x^p.

    The density (x (1 - x))^(alpha - 1) has poles at 0 and 1 when alpha < 1. With p = min(alpha, 1) it is
    t^(alpha / p - 1) (1 - t^(1 / p))^(alpha - 1) / p in t, which has none, so the trapezoid rule is enough.
    """
    p = min(alpha, 1.0)
    t = np.linspace(0.0, 0.5**p, 20_001)
    density = t ** (alpha / p - 1.0) * (1.0 - t ** (1.0 / p)) ** (alpha - 1.0)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2.0)])
    # For a large alpha the first masses are too small for float32 to tell apart: one point is enough there.
    mass = (mass / mass[-1]).astype(np.float32)
    kept = np.concatenate([[True], np.diff(mass) > 0])
    return mass[kept], t[kept].astype(np.float32)
