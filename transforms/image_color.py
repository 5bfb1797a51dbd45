"""Random colours: ColorJitter and RandomGrayscale."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms import image_tables as tables
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_op import bind_image, check_probability, form_after, image_schema
from forebay.transforms.transform import Apply, Kind, State

Range = float | tuple[float, float]


@dataclass(frozen=True, slots=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue, in random order, as torchvision's ColorJitter does.

    A number x draws the factor from max(0, 1 - x) to 1 + x (hue: a turn of the circle from -x to x), a pair from its
    first to its second; 0 leaves that property alone.
    """

    brightness: Range = 0.0
    contrast: Range = field(default=0.0, kw_only=True)
    saturation: Range = field(default=0.0, kw_only=True)
    hue: Range = field(default=0.0, kw_only=True)
    """At most 0.5."""
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    draws: ClassVar[int] = 8

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "hue"):
            object.__setattr__(self, name, _range(name, getattr(self, name)))

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
        steps = (
            (tables.brightness, self.brightness, 1.0),
            (tables.contrast, self.contrast, 1.0),
            (tables.saturation, self.saturation, 1.0),
            (tables.hue, self.hue, 0.0),
        )
        for at in np.argsort(drawn[4:], kind="stable"):
            step, bounds, neutral = steps[at]
            low, high = bounds if isinstance(bounds, tuple) else (bounds, bounds)
            if low != neutral or high != neutral:
                pixels = step(pixels, low + (high - low) * drawn[at])
        return pixels


@dataclass(frozen=True, slots=True)
class RandomGrayscale:
    """Make images grey, each with probability `p`; they keep their channels.

    uint8 of one or three channels; grey is Pillow's luma (ITU-R BT.601).
    """

    p: float = 0.1
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    draws: ClassVar[int] = 1

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

    def paint(self, pixels: NDArray[np.uint8], drawn: NDArray[np.float64]) -> NDArray[np.uint8]:
        return tables.grayscale(pixels) if drawn[0] < self.p else pixels


def _range(name: str, value: object) -> tuple[float, float]:
    neutral, least, greatest = (0.0, -0.5, 0.5) if name == "hue" else (1.0, 0.0, float("inf"))
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        found = (max(neutral - value, least) if name != "hue" else -float(value), neutral + value)
    elif isinstance(value, list | tuple) and len(value) == 2:
        found = (float(value[0]), float(value[1]))
    else:
        raise SpecError(f"ColorJitter: {name} is {value!r}; expected a number, 0 or more, or a pair of numbers")
    if not least <= found[0] <= found[1] <= greatest:
        raise SpecError(f"ColorJitter: {name} draws from {found[0]} to {found[1]}; expected {least} to {greatest}")
    return found
