"""RandomResizedCrop and RandomCrop, drawn as torchvision documents them."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_geometry import filter_of, refuse_smaller, square
from forebay.transforms.image_op import Move, bind_image, check_size, form_after, image_schema
from forebay.transforms.image_placement import Placement
from forebay.transforms.transform import Apply, Kind, State

_TRIES = 10


@dataclass(frozen=True, slots=True)
class RandomResizedCrop:
    """Crop a random area of random shape and resize it to `size`.

    The area is uniform in `scale` (parts of the image's), the logarithm of width / height uniform in that of `ratio`; of
    10 tries the first that fits is taken, its place uniform; if none fits, the middle with the nearest ratio in range
    (torchvision's RandomResizedCrop.get_params).
    """

    size: int | tuple[int, int]
    column: str = field(default="image", kw_only=True)
    scale: tuple[float, float] = field(default=(0.08, 1.0), kw_only=True)
    ratio: tuple[float, float] = field(default=(3 / 4, 4 / 3), kw_only=True)
    interpolation: str = field(default="bilinear", kw_only=True)
    """"bilinear" or "bicubic"."""
    antialias: bool = field(default=True, kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    move: ClassVar[Move] = "resize"
    draws: ClassVar[int] = 2 * _TRIES + 2
    pads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self, "size", self.size))
        for name in ("scale", "ratio"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple) or len(value) != 2 or not 0 < value[0] <= value[1]:
                raise SpecError(f"RandomResizedCrop: {name} is {value!r}; expected (least, greatest), both above 0")
            object.__setattr__(self, name, (float(value[0]), float(value[1])))
        filter_of(self, self.interpolation, self.antialias)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return image_schema(self, schema)

    def field_after(self, field: pa.Field) -> pa.Field:
        return form_after(self, field)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_image(self, schema, op)

    def after(self, form: ImageForm) -> ImageForm:
        return form.sized(*square(self.size))

    def place(self, placement: Placement, drawn: NDArray[np.float64]) -> None:
        top, left, height, width = resized_crops(placement.sizes, drawn, self.scale, self.ratio)
        placement.keep(top, left, height, width)
        placement.resize(*square(self.size), filter_of(self, self.interpolation, self.antialias))


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """Keep a part of this size, (height, width) in pixels, its place uniform, as torchvision's.

    Images of any number of channels, uint8. One that is smaller, padding included, is a bad row.
    """

    size: int | tuple[int, int]
    column: str = field(default="image", kw_only=True)
    padding: int = field(default=0, kw_only=True)
    """Pixels put around the image first, on each side."""
    fill: int = field(default=0, kw_only=True)
    """Their grey, 0 to 255."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    move: ClassVar[Move] = "crop"
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self, "size", self.size))
        if isinstance(self.padding, bool) or not isinstance(self.padding, int) or self.padding < 0:
            raise SpecError(f"RandomCrop: padding is {self.padding!r}; expected pixels, 0 or more")
        if isinstance(self.fill, bool) or not isinstance(self.fill, int) or not 0 <= self.fill <= 255:
            raise SpecError(f"RandomCrop: fill is {self.fill!r}; expected a grey level, 0 to 255")

    @property
    def pads(self) -> bool:
        return self.padding > 0

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return image_schema(self, schema)

    def field_after(self, field: pa.Field) -> pa.Field:
        return form_after(self, field)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_image(self, schema, op)

    def after(self, form: ImageForm) -> ImageForm:
        return form.sized(*square(self.size))

    def place(self, placement: Placement, drawn: NDArray[np.float64]) -> None:
        height, width = square(self.size)
        around = self.padding
        refuse_smaller(placement, height - 2 * around, width - 2 * around)
        spare = np.maximum(placement.sizes + 2 * around - np.array([height, width]), 0)
        top, left = np.floor(drawn * (spare + 1)).astype(np.int64).T - around
        placement.fill = (self.fill,)
        placement.keep(top, left, height, width)


def resized_crops(
    sizes: NDArray[np.int64],
    drawn: NDArray[np.float64],
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Tops, lefts, heights, widths (each (N,)) of the crops of N images of `sizes` (N, 2) height and width.

    Args:
        sizes: of the images.
        drawn: (N, 22) uniform in [0, 1): 10 areas, 10 ratios, the place.
        scale: least and greatest area, parts of the image's.
        ratio: least and greatest width / height.
    """
    height, width = sizes[:, 0], sizes[:, 1]
    area = (height * width)[:, None] * (scale[0] + (scale[1] - scale[0]) * drawn[:, :_TRIES])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = np.exp(low + (high - low) * drawn[:, _TRIES : 2 * _TRIES])
    wide = np.rint(np.sqrt(area * shape)).astype(np.int64)
    tall = np.rint(np.sqrt(area / shape)).astype(np.int64)
    fits = (wide > 0) & (wide <= width[:, None]) & (tall > 0) & (tall <= height[:, None])
    found, first = fits.any(axis=1), fits.argmax(axis=1)[:, None]
    own = width / height
    middle_w = np.where(own > ratio[1], np.rint(height * ratio[1]), width).astype(np.int64)
    middle_h = np.where(own < ratio[0], np.rint(width / ratio[0]), height).astype(np.int64)
    w = np.where(found, np.take_along_axis(wide, first, 1)[:, 0], np.clip(middle_w, 1, width))
    h = np.where(found, np.take_along_axis(tall, first, 1)[:, 0], np.clip(middle_h, 1, height))
    top = np.where(found, np.floor(drawn[:, 2 * _TRIES] * (height - h + 1)), (height - h) // 2).astype(np.int64)
    left = np.where(found, np.floor(drawn[:, 2 * _TRIES + 1] * (width - w + 1)), (width - w) // 2).astype(np.int64)
    return top, left, h, w
