"""Where pixels go: Resize, CenterCrop, HorizontalFlip, VerticalFlip (see `image_random_crop` for the random crops)."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.compiled import kernels
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_op import Move, bind_image, check_probability, check_size, form_after, image_schema
from forebay.transforms.image_placement import Placement
from forebay.transforms.transform import Apply, Kind, State

resample = kernels("image_resample")


@dataclass(frozen=True, slots=True)
class Resize:
    """Resize images: a number is the length of the shorter side, (height, width) is the size itself.

    The longer side becomes `int(size * long / short)`, as in torchvision. With `antialias` (bilinear, the default, or
    bicubic) the filter widens when it shrinks, as Pillow's does, and the result is within one grey level of Pillow's
    (bicubic: a few at sharp edges, since Pillow clips between its two passes). Without, bilinear weighs the four nearest
    pixels, as torchvision does for tensors with antialias=False.
    """

    size: int | tuple[int, int]
    column: str = field(default="image", kw_only=True)
    interpolation: str = field(default="bilinear", kw_only=True)
    """"bilinear" or "bicubic"."""
    antialias: bool = field(default=True, kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False
    move: ClassVar[Move] = "resize"
    draws: ClassVar[int] = 0
    pads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self, "size", self.size))
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
        if isinstance(self.size, tuple):
            return form.sized(*self.size)
        if form.size is None:
            return form
        height, width = _shorter(np.array([form.size]), self.size)[0]
        return form.sized(int(height), int(width))

    def place(self, placement: Placement, drawn: NDArray[np.float64]) -> None:
        used = filter_of(self, self.interpolation, self.antialias)
        if isinstance(self.size, tuple):
            placement.resize(*self.size, used)
        else:
            size = _shorter(placement.sizes, self.size)
            placement.resize(size[:, 0], size[:, 1], used)


@dataclass(frozen=True, slots=True)
class CenterCrop:
    """Keep the middle: the crop's top is `round((height - size) / 2)`, as in torchvision.

    An image that is smaller than the crop is a bad row (torchvision pads it with black): resize first.
    """

    size: int | tuple[int, int]
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False
    move: ClassVar[Move] = "crop"
    draws: ClassVar[int] = 0
    pads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self, "size", self.size))

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
        refuse_smaller(placement, height, width)
        spare = placement.sizes - np.array([height, width])
        top, left = np.rint(np.maximum(spare, 0) / 2).astype(np.int64).T
        placement.keep(top, left, height, width)


@dataclass(frozen=True, slots=True)
class HorizontalFlip:
    """Flip images left to right, each with probability `p`. uint8 of any size and number of channels, as torchvision's."""

    p: float = 0.5
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    move: ClassVar[Move] = "mirror"
    draws: ClassVar[int] = 1
    pads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_probability(self, "p", self.p)

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

    def place(self, placement: Placement, drawn: NDArray[np.float64]) -> None:
        placement.mirror(1, drawn[:, 0] < self.p)


@dataclass(frozen=True, slots=True)
class VerticalFlip:
    """Flip images upside down, each with probability `p`. uint8 of any size and number of channels, as torchvision's."""

    p: float = 0.5
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    move: ClassVar[Move] = "mirror"
    draws: ClassVar[int] = 1
    pads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_probability(self, "p", self.p)

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

    def place(self, placement: Placement, drawn: NDArray[np.float64]) -> None:
        placement.mirror(0, drawn[:, 0] < self.p)


def filter_of(op: Any, interpolation: str, antialias: bool) -> int:
    """The kernel's filter.

    Raises:
        SpecError: there is no such filter.
    """
    if interpolation == "bilinear":
        return resample.ANTIALIAS if antialias else resample.BILINEAR
    if interpolation == "bicubic" and antialias:
        return resample.BICUBIC
    raise SpecError(
        f"{type(op).__name__}: interpolation is {interpolation!r} with antialias={antialias}; expected 'bilinear', or "
        "'bicubic' with antialias=True"
    )


def square(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size."""
    return size if isinstance(size, tuple) else (size, size)


def refuse_smaller(placement: Placement, height: int, width: int) -> None:
    """Refuse images that a crop does not fit in."""
    smaller = np.asarray((placement.sizes < np.array([height, width])).any(axis=1))
    placement.refuse(smaller, f"image smaller than the crop of {height}x{width} (put Resize before)")


def _shorter(sizes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """(N, 2) sizes whose shorter side is `size`."""
    short, long = sizes.min(axis=1), sizes.max(axis=1)
    length = np.maximum(size * long // short, 1)
    return np.where(sizes == short[:, None], size, length[:, None])
