"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719) with torchvision's list of operations and magnitudes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms import image_tables as tables
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_op import bind_image, form_after, image_schema
from forebay.transforms.image_rotate import check_warp, rotation, warped
from forebay.transforms.transform import Apply, Kind, State

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RandAugment:
    """Apply `num_ops` random operations, one after another, each of strength `magnitude`.

    The operations, their ranges over the magnitude bins, and the random sign are those of
    torchvision.transforms.RandAugment, not timm's: Identity, ShearX and ShearY (0 to 0.3), TranslateX and TranslateY (0 to
    150 / 331 of the side), Rotate (0 to 30 degrees), Brightness, Color, Contrast and Sharpness (1 +- 0 to 0.9), Posterize
    (8 to 4 bits), Solarize (from 255 down to 0), AutoContrast, Equalize; each equally likely.
    """

    num_ops: int = 2
    magnitude: int = field(default=9, kw_only=True)
    """Bin, 0 to num_magnitude_bins - 1."""
    num_magnitude_bins: int = field(default=31, kw_only=True)
    interpolation: str = field(default="nearest", kw_only=True)
    """"nearest" or "bilinear"."""
    fill: int = field(default=0, kw_only=True)
    """Grey of what comes from outside, 0 to 255."""
    column: str = field(default="image", kw_only=True)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.num_ops, bool) or not isinstance(self.num_ops, int) or self.num_ops < 1:
            raise SpecError(f"RandAugment: num_ops is {self.num_ops!r}; expected 1 or more")
        if self.num_magnitude_bins < 2 or not 0 <= self.magnitude < self.num_magnitude_bins:
            raise SpecError(
                f"RandAugment: magnitude is {self.magnitude} of {self.num_magnitude_bins} bins; expected 2 bins or more, "
                "and a magnitude from 0 to the last of them"
            )
        check_warp(self, self.interpolation, self.fill)

    @property
    def draws(self) -> int:
        return 2 * self.num_ops

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

    def paint(self, pixels: Image, drawn: NDArray[np.float64]) -> Image:
        part = self.magnitude / (self.num_magnitude_bins - 1)
        for which, side in drawn.reshape(-1, 2):
            name = OPERATIONS[int(which * len(OPERATIONS))]
            pixels = self._apply(name, pixels, part, -1.0 if side < 0.5 else 1.0)
        return pixels

    def _apply(self, name: str, pixels: Image, part: float, sign: float) -> Image:
        if name in _COLOURS:
            return _COLOURS[name](pixels, 1 + sign * 0.9 * part)
        if name in _TABLES:
            return _TABLES[name](pixels, part)
        _, height, width = pixels.shape
        matrix = {
            "ShearX": (1, sign * 0.3 * part, 0, 0, 1, 0),
            "ShearY": (1, 0, 0, sign * 0.3 * part, 1, 0),
            "TranslateX": (1, 0, -int(sign * 150 / 331 * width * part), 0, 1, 0),
            "TranslateY": (1, 0, 0, 0, 1, -int(sign * 150 / 331 * height * part)),
            "Rotate": rotation(sign * 30 * part, height, width),
        }[name]
        return warped(pixels, matrix, smooth=self.interpolation == "bilinear", fill=self.fill)


_COLOURS: dict[str, Callable[[Image, float], Image]] = {
    "Brightness": tables.brightness,
    "Color": tables.saturation,
    "Contrast": tables.contrast,
    "Sharpness": tables.sharpness,
}
_TABLES: dict[str, Callable[[Image, float], Image]] = {
    "Identity": lambda pixels, part: pixels,
    "Posterize": lambda pixels, part: tables.posterize(pixels, 8 - round(4 * part)),
    "Solarize": lambda pixels, part: tables.solarize(pixels, 255 * (1 - part)),
    "AutoContrast": lambda pixels, part: tables.autocontrast(pixels),
    "Equalize": lambda pixels, part: tables.equalize(pixels),
}
OPERATIONS = (*_TABLES, *_COLOURS, "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
