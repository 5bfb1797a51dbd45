"""RandomRotation, and the affine maps that RandAugment also uses."""

import math
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

Matrix = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class RandomRotation:
    """Turn images about their middle by an angle uniform in `degrees`, counter-clockwise; the size stays.

    "nearest" takes the pixel that the place lies in, as Pillow and torchvision do by default; "bilinear" weighs the four
    nearest, and at the edge mixes with the fill.
    """

    degrees: float | tuple[float, float]
    """Least and greatest; a number x is (-x, x)."""
    interpolation: str = field(default="nearest", kw_only=True)
    """"nearest" or "bilinear"."""
    fill: int = field(default=0, kw_only=True)
    """Grey of the corners, 0 to 255."""
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        value: object = self.degrees
        pair = (-value, value) if isinstance(value, int | float) else value
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not pair[0] <= pair[1]:
            raise SpecError(f"RandomRotation: degrees is {value!r}; expected a number, 0 or more, or (least, greatest)")
        object.__setattr__(self, "degrees", (float(pair[0]), float(pair[1])))
        check_warp(self, self.interpolation, self.fill)

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
        low, high = self.degrees if isinstance(self.degrees, tuple) else (0.0, 0.0)
        matrix = rotation(low + (high - low) * drawn[0], *pixels.shape[1:])
        return warped(pixels, matrix, smooth=self.interpolation == "bilinear", fill=self.fill)


def rotation(degrees: float, height: int, width: int) -> Matrix:
    """Where output pixels come from when the image is turned counter-clockwise about its middle."""
    # rounded as in Pillow, so that a quarter turn is one
    cos, sin = round(math.cos(math.radians(degrees)), 15), round(math.sin(math.radians(degrees)), 15)
    x, y = width / 2, height / 2
    return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


def warped(pixels: NDArray[np.uint8], matrix: Matrix, *, smooth: bool, fill: int) -> NDArray[np.uint8]:
    """The image of the same size whose pixels come from where the matrix says (see `warp_into`)."""
    made = np.empty_like(pixels)
    _image_warp.warp_into(pixels, np.array(matrix, np.float64), smooth, np.full(len(pixels), fill, np.uint8), made)
    return made


def check_warp(op: object, interpolation: str, fill: int) -> None:
    """Refuse what is no interpolation, and what is no grey level."""
    name = type(op).__name__
    if interpolation not in ("nearest", "bilinear"):
        raise SpecError(f"{name}: interpolation is {interpolation!r}; expected 'nearest' or 'bilinear'")
    if isinstance(fill, bool) or not isinstance(fill, int) or not 0 <= fill <= 255:
        raise SpecError(f"{name}: fill is {fill!r}; expected a grey level, 0 to 255")
