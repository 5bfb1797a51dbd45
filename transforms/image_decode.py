"""DecodeImage: files to pixels, and DropCorruptImages: only files that decode."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.image_form import ImageForm, form_of, image_field
from forebay.transforms.image_op import bind_image, image_schema
from forebay.transforms.transform import Apply, Keep, Kind, Rows, State

_CHANNELS = {"RGB": 3, "L": 1}


@dataclass(frozen=True, slots=True)
class DecodeImage:
    """Decode JPEG (libjpeg-turbo) and whatever Pillow reads (PNG, WebP, GIF, TIFF, BMP) to 8 bits a channel.

    Palettes are looked up, alpha is dropped, CMYK becomes RGB by Pillow's formula, of 16 bits the upper 8 are kept. A
    file that does not decode is a bad row, and so is null.

    Where the next transforms leave part of a JPEG unused, only what they need is decoded: not the rows below it (the
    pixels are the same to the last bit; damage below is not seen), and with `reduce` not the resolution that an
    antialiased Resize or RandomResizedCrop would average away.
    """

    column: str = "image"
    mode: str = field(default="RGB", kw_only=True)
    """"RGB", or "L" for grey (luma)."""
    reduce: bool = field(default=True, kw_only=True)
    """Whether the decoder may reduce a JPEG by 2, 4 or 8, when the crop stays at least as large as its output. libjpeg
    then averages squares of pixels, where the filter alone would weigh them as a triangle: a small difference, only where
    decoding and resizing are one stage. False gives the same pixels always."""
    fast: bool = field(default=False, kw_only=True)
    """Whether libjpeg-turbo uses its less exact cosine transform and repeats chroma instead of smoothing it. Off, as in
    Pillow; `python -m forebay.bench.images_kernels` says what it saves and costs."""
    orient: bool = field(default=False, kw_only=True)
    """Whether to turn images as their Exif orientation says; off, as in Pillow and torchvision."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.mode not in _CHANNELS:
            raise SpecError(f"DecodeImage: mode is {self.mode!r}; expected 'RGB' or 'L'")

    @property
    def channels(self) -> int:
        return _CHANNELS[self.mode]

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return image_schema(self, schema)

    def field_after(self, field: pa.Field) -> pa.Field:
        if not form_of(field, by="DecodeImage").encoded:
            raise SchemaError(f"DecodeImage: column {field.name!r} holds decoded images already; leave DecodeImage out")
        return ImageForm(self.channels).field(field.name)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_image(self, schema, op)


@dataclass(frozen=True, slots=True)
class DropCorruptImages:
    """Keep the rows whose file decodes, from the first byte to the last.

    A binary column of encoded images (JPEG, PNG, WebP), which stays encoded. Null goes, too.
    """

    column: str = "image"

    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        field = image_field(schema, self.column, by="DropCorruptImages")
        if not form_of(field, by="DropCorruptImages").encoded:
            raise SchemaError(
                f"DropCorruptImages: column {self.column!r} is decoded already; put it before DecodeImage"
            )
        return schema

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Keep:
        from forebay.transforms.image_encoded import EncodedImages
        from forebay.transforms.image_jpeg import UndecodableError

        self.output_schema(schema)
        decode = DecodeImage(self.column)

        def keep(batch: pa.RecordBatch, rows: Rows) -> NDArray[np.bool_]:
            images = EncodedImages(batch.column(self.column), None, decode)
            good = np.ones(batch.num_rows, np.bool_)
            for bad in images.bad.values():
                good &= ~bad
            for row in np.flatnonzero(good):
                try:
                    images.pixels(int(row))
                except UndecodableError:
                    good[row] = False
            return good

        return keep
