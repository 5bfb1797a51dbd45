"""What is written for each image: uint8 as it is, scaled float32, or 16-bit patterns from a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels

resample = kernels("image_resample")


_NO_TABLE = np.zeros((0, 256), np.uint16)
_NO32, _NO8, _NO16 = np.empty(0, np.float32), np.empty(0, np.uint8), np.empty(0, np.uint16)


@dataclass(frozen=True, slots=True)
class ImageOutput:
    """The last step of a chain, as the kernels take it. C channels."""

    kind: int
    """TO_FLOAT32, TO_UINT8 or TO_BITS16."""
    last: bool
    """Whether the channel comes last in the output."""
    scale: NDArray[np.float32]
    """(C,) for TO_FLOAT32: value * scale + shift."""
    shift: NDArray[np.float32]
    table: NDArray[np.uint16]
    """(C, 256) for TO_BITS16."""
    dtype: np.dtype[Any]
    """Type in a training batch."""

    @classmethod
    def float32(cls, scale: NDArray[np.float32], shift: NDArray[np.float32], *, last: bool) -> "ImageOutput":
        """value * scale + shift, in float32."""
        return cls(resample.TO_FLOAT32, last, scale, shift, _NO_TABLE, np.dtype(np.float32))

    @classmethod
    def table16(cls, table: NDArray[np.uint16], dtype: str, *, last: bool) -> "ImageOutput":
        """The pattern of each grey level."""
        none = np.zeros(len(table), np.float32)
        found = np.dtype(np.float16 if dtype == "float16" else np.uint16)
        return cls(resample.TO_BITS16, last, none, none, table, found)

    @property
    def channels(self) -> int:
        return len(self.scale)

    def targets(self, flat: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint16]]:
        """The three outputs of a kernel, of which `flat` is the one that is written."""
        if self.kind == resample.TO_FLOAT32:
            return flat, _NO8, _NO16
        return (_NO32, flat, _NO16) if self.kind == resample.TO_UINT8 else (_NO32, _NO8, flat.view(np.uint16))


def plain(channels: int, *, last: bool = False) -> ImageOutput:
    """uint8 as it is."""
    none = np.zeros(channels, np.float32)
    return ImageOutput(resample.TO_UINT8, last, none, none, _NO_TABLE, np.dtype(np.uint8))


def bits16(scale: NDArray[np.float32], shift: NDArray[np.float32], dtype: str) -> NDArray[np.uint16]:
    """(C, 256) patterns of value * scale + shift as float16 or bfloat16, rounded to nearest even from float32."""
    values = np.arange(256, dtype=np.float32) * scale[:, None] + shift[:, None]
    if dtype == "float16":
        return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
