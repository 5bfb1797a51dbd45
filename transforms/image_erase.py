"""RandomErasing: a random rectangle is filled."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_op import bind_image, check_probability, form_after, image_schema
from forebay.transforms.transform import Apply, Kind, State

_TRIES = 10


@dataclass(frozen=True, slots=True)
class RandomErasing:
    """Fill a rectangle, with probability `p`: its area uniform in `scale` (parts of the image's), the logarithm of height /
    width uniform in that of `ratio`; of 10 tries the first that fits is taken (torchvision's RandomErasing).

    It works on pixels, before NormalizeImage: (124, 116, 104) is what ImageNet's mean becomes 0 from.
    """

    p: float = 0.5
    scale: tuple[float, float] = field(default=(0.02, 0.33), kw_only=True)
    ratio: tuple[float, float] = field(default=(0.3, 3.3), kw_only=True)
    value: int | tuple[int, ...] = field(default=0, kw_only=True)
    """Grey of the rectangle, 0 to 255, for all channels or for each."""
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False
    draws: ClassVar[int] = 1 + 2 * _TRIES + 2

    def __post_init__(self) -> None:
        check_probability(self, "p", self.p)
        for name in ("scale", "ratio"):
            pair = getattr(self, name)
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise SpecError(f"RandomErasing: {name} is {pair!r}; expected (least, greatest), both above 0")
            object.__setattr__(self, name, (float(pair[0]), float(pair[1])))
        levels = tuple(self.value) if isinstance(self.value, list | tuple) else (self.value,)
        if len(levels) not in (1, 3) or not all(isinstance(one, int) and 0 <= one <= 255 for one in levels):
            raise SpecError(f"RandomErasing: value is {self.value!r}; expected one grey level, 0 to 255, or three")
        object.__setattr__(self, "value", levels if len(levels) == 3 else levels[0])

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
        if drawn[0] >= self.p:
            return pixels
        channels, height, width = pixels.shape
        area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * drawn[1 : 1 + _TRIES])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        shape = np.exp(low + (high - low) * drawn[1 + _TRIES : 1 + 2 * _TRIES])
        tall, wide = np.rint(np.sqrt(area * shape)).astype(int), np.rint(np.sqrt(area / shape)).astype(int)
        fits = np.flatnonzero((tall < height) & (wide < width))
        if len(fits):
            h, w = tall[fits[0]], wide[fits[0]]
            top, left = int(drawn[-2] * (height - h + 1)), int(drawn[-1] * (width - w + 1))
            pixels[:, top : top + h, left : left + w] = np.resize(np.array(self.value, np.uint8), (channels, 1, 1))
        return pixels
