"""What a transform of images is, beside a transform: it places pixels or paints them, and fuses with its neighbours.

Every image transform gives uint8, rounded half up, and NormalizeImage, which comes last, gives what the model wants. So a
fused chain equals its transforms one after another to the last bit (but see DecodeImage about `reduce`), and a cache may
stand anywhere between them.
"""

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.image_form import ImageForm, decoded_form, image_field
from forebay.transforms.image_placement import Placement
from forebay.transforms.transform import Apply, Transform

Move = Literal["crop", "resize", "mirror"]


@runtime_checkable
class ImageTransform(Protocol):
    """A transform of one image column."""

    column: str

    def field_after(self, field: pa.Field) -> pa.Field:
        """The column after it. Raises SchemaError where it cannot work."""


@runtime_checkable
class Places(Protocol):
    """Says where pixels go. Neighbours are composed into one pass over the pixels."""

    move: ClassVar[Move]

    @property
    def draws(self) -> int:
        """Random numbers it takes for an image."""

    def after(self, form: ImageForm) -> ImageForm: ...

    @property
    def pads(self) -> bool:
        """Whether pixels from outside the image may appear."""

    def place(self, placement: Placement, drawn: NDArray[np.float64]) -> None:
        """Change the placement of N images; drawn is (N, draws), uniform in [0, 1)."""


@runtime_checkable
class Paints(Protocol):
    """Changes pixels in place, or gives new ones of the same shape."""

    @property
    def draws(self) -> int:
        """Random numbers it takes for an image."""

    def after(self, form: ImageForm) -> ImageForm: ...

    def paint(self, pixels: NDArray[np.uint8], drawn: NDArray[np.float64]) -> NDArray[np.uint8]:
        """(C, H, W) uint8 in and out, C-contiguous, its own to change; drawn is (draws,)."""


def form_after(op: Places | Paints, field: pa.Field) -> pa.Field:
    """`field_after` of a transform that places or paints."""
    return op.after(decoded_form(field, by=type(op).__name__)).field(field.name)


def image_schema(op: Any, schema: pa.Schema) -> pa.Schema:
    """`output_schema` of an image transform."""
    field = image_field(schema, op.column, by=type(op).__name__)
    return schema.set(schema.get_field_index(op.column), op.field_after(field))


def bind_image(op: Transform, schema: pa.Schema, at: int) -> Apply:
    """`bind` of an image transform: the same code as in a fused stage."""
    from forebay.transforms.fuse_image import fuse

    run: Apply = fuse([op], schema, [None], [at]).run
    return run


def check_size(op: Any, name: str, value: object) -> tuple[int, int] | int:
    """A size in pixels, as a spec has it: one number, or (height, width).

    Raises:
        SpecError: it is something else.
    """
    if isinstance(value, list | tuple) and len(value) == 2 and all(_pixels(one) for one in value):
        return int(value[0]), int(value[1])
    if _pixels(value):
        return int(value)  # type: ignore[call-overload]  # _pixels has seen that it is an int
    raise SpecError(f"{type(op).__name__}: {name} is {value!r}; expected pixels, 1 or more, or (height, width)")


def check_probability(op: Any, name: str, value: float) -> None:
    """Refuse what is no probability."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise SpecError(f"{type(op).__name__}: {name} is {value!r}; expected a probability, 0 to 1")


def _pixels(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
