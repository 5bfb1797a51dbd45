"""GaussianBlur with a random width."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.compiled import kernels
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_op import bind_image, form_after, image_schema
from forebay.transforms.transform import Apply, Kind, State

_image_warp = kernels("image_warp")


@dataclass(frozen=True, slots=True)
class GaussianBlur:
    """Blur with a Gaussian whose standard deviation is uniform in `sigma`, mirrored at the edges, as torchvision does."""

    kernel_size: int
    """Pixels across, odd."""
    sigma: tuple[float, float] = (0.1, 2.0)
    """Least and greatest standard deviation, in pixels."""
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if isinstance(self.kernel_size, bool) or not isinstance(self.kernel_size, int) or self.kernel_size % 2 != 1:
            raise SpecError(f"GaussianBlur: kernel_size is {self.kernel_size!r}; expected an odd number of pixels")
        value: object = self.sigma
        pair = (value, value) if isinstance(value, int | float) else value
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not 0 < pair[0] <= pair[1]:
            raise SpecError(f"GaussianBlur: sigma is {value!r}; expected (least, greatest), both above 0")
        object.__setattr__(self, "sigma", (float(pair[0]), float(pair[1])))

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return image_schema(self, schema)

    def field_after(self, field: pa.Field) -> pa.Field:
        return form_after(self, field)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_image(self, schema, op)

    def after(self, form: ImageForm) -> ImageForm:
        return form

    def paint(self, pixels: NDArray[np.uint8], drawn: NDArray[np.float64]) -> NDArray[np.uint8]:
        low, high = self.sigma
        out, rows = np.empty_like(pixels), np.empty(pixels.shape[1:], np.float32)
        _image_warp.blur_into(pixels, gaussian(self.kernel_size, low + (high - low) * drawn[0]), rows, out)
        return out


def gaussian(taps: int, sigma: float) -> NDArray[np.float32]:
    """(taps,) float32 weights of a Gaussian, which sum to 1."""
    away = np.arange(taps) - taps // 2
    weights = np.exp(-0.5 * (away / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)
