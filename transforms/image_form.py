"""The forms an image column takes: encoded files, decoded pixels, pixels of one size.

* encoded: `binary` or `large_binary`, the bytes of one file a row;
* decoded: `struct<pixels: large_binary, height: int32, width: int32, channels: int32>`, planar: all of the first channel
  row by row, then the second, then the third, one byte a value. The field's metadata says how many channels;
* of one size: `fixed_shape_tensor<uint8, (channels, height, width)>`.
"""

from dataclasses import dataclass, replace

import pyarrow as pa

from forebay.formats.errors import SchemaError

DECODED = pa.struct(
    [
        pa.field("pixels", pa.large_binary()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("channels", pa.int32()),
    ]
)
CHANNELS = b"forebay.channels"
"""Key of the metadata of a decoded column; where it is missing, images have 3 channels."""


@dataclass(frozen=True, slots=True)
class ImageForm:
    """What is known of the images of a column before one is seen."""

    channels: int | None
    """1 or 3; None while they are encoded."""
    size: tuple[int, int] | None = None
    """Height and width, if all images share them."""

    @property
    def encoded(self) -> bool:
        return self.channels is None

    def sized(self, height: int, width: int) -> "ImageForm":
        """This form with a fixed size."""
        return replace(self, size=(height, width))

    def unsized(self) -> "ImageForm":
        """This form with sizes that differ."""
        return replace(self, size=None)

    def field(self, name: str) -> pa.Field:
        """The column's field."""
        if self.channels is None:
            return pa.field(name, pa.binary())
        if self.size is None:
            return pa.field(name, DECODED, metadata={CHANNELS: str(self.channels)})
        return pa.field(name, pa.fixed_shape_tensor(pa.uint8(), (self.channels, *self.size)), nullable=False)


def form_of(field: pa.Field, *, by: str) -> ImageForm:
    """The form of a column.

    Raises:
        SchemaError: it holds no images.
    """
    type = field.type
    if pa.types.is_binary(type) or pa.types.is_large_binary(type):
        return ImageForm(None)
    if type == DECODED:
        return ImageForm(int((field.metadata or {}).get(CHANNELS, b"3")))
    if isinstance(type, pa.FixedShapeTensorType) and type.value_type == pa.uint8() and type.permutation is None:
        shape = tuple(type.shape)
        if len(shape) == 3 and shape[0] in (1, 3) and min(shape) > 0:
            return ImageForm(shape[0], (shape[1], shape[2]))
    raise SchemaError(
        f"{by}: column {field.name!r} is {type}; expected encoded images (binary), decoded ones (a struct of pixels, height, "
        "width, channels) or uint8 tensors of shape (1 or 3, height, width)"
    )


def decoded_form(field: pa.Field, *, by: str) -> ImageForm:
    """The form of a column that must be decoded.

    Raises:
        SchemaError: it holds no images, or encoded ones.
    """
    form = form_of(field, by=by)
    if form.encoded:
        raise SchemaError(f"{by}: column {field.name!r} holds encoded images; put DecodeImage before")
    return form


def image_field(schema: pa.Schema, column: str, *, by: str) -> pa.Field:
    """The column's field.

    Raises:
        SchemaError: there is no such column.
    """
    if column not in schema.names:
        raise SchemaError(f"{by}: no column {column!r}; the columns are {', '.join(schema.names)}")
    return schema.field(column)
