"""NormalizeImage: pixels become the tensor that the model takes."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.image_form import decoded_form
from forebay.transforms.image_op import bind_image, image_schema
from forebay.transforms.image_output import ImageOutput, bits16, plain
from forebay.transforms.transform import Apply, Kind, State

_TYPES = {
    "uint8": pa.uint8(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "bfloat16": pa.uint16(),
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class NormalizeImage:
    """`(value / 255 - mean) / std`, as one float32 multiplication and one addition, into a tensor; it comes last.

    Images must have one size by now.
    """

    mean: tuple[float, ...] | None = None
    """One a channel, of values in 0 to 1; None is ImageNet's for colour."""
    std: tuple[float, ...] | None = None
    column: str = field(default="image", kw_only=True)
    dtype: str = field(default="float32", kw_only=True)
    """"float32"; "float16" and "bfloat16" (rounded to nearest even from float32; Arrow and numpy have no bfloat16, so it
    is the bits as uint16: `torch_tensor.view(torch.bfloat16)`); "uint8" leaves the pixels as they are, for a model that
    widens and normalizes on the device."""
    layout: str = field(default="CHW", kw_only=True)
    """"CHW" or "HWC"."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "image"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.dtype not in _TYPES:
            raise SpecError(f"NormalizeImage: dtype is {self.dtype!r}; expected one of {', '.join(_TYPES)}")
        if self.layout not in ("CHW", "HWC"):
            raise SpecError(f"NormalizeImage: layout is {self.layout!r}; expected 'CHW' or 'HWC'")
        if (self.mean is None) != (self.std is None):
            raise SpecError("NormalizeImage: one of mean and std is given; expected both or neither")
        if self.mean is None or self.std is None:
            return
        if self.dtype == "uint8":
            raise SpecError("NormalizeImage: dtype 'uint8' leaves pixels as they are; leave mean and std out")
        object.__setattr__(self, "mean", tuple(float(one) for one in self.mean))
        object.__setattr__(self, "std", tuple(float(one) for one in self.std))
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3) or not all(one > 0 for one in self.std):
            raise SpecError(
                f"NormalizeImage: mean is {self.mean} and std {self.std}; expected 1 or 3 numbers each, std above 0"
            )

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return image_schema(self, schema)

    def field_after(self, field: pa.Field) -> pa.Field:
        form = decoded_form(field, by="NormalizeImage")
        if form.size is None:
            raise SchemaError(
                f"NormalizeImage: images of column {field.name!r} differ in size; put a transform before that gives them "
                "one (CenterCrop, RandomResizedCrop, Resize((height, width)))"
            )
        channels = form.channels or 0
        self._moments(channels)
        shape = (channels, *form.size) if self.layout == "CHW" else (*form.size, channels)
        return pa.field(field.name, pa.fixed_shape_tensor(_TYPES[self.dtype], shape), nullable=False)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return bind_image(self, schema, op)

    def output(self, channels: int) -> ImageOutput:
        """What the kernels write for images of this many channels."""
        last = self.layout == "HWC"
        if self.dtype == "uint8":
            return plain(channels, last=last)
        mean, std = self._moments(channels)
        scale = (1 / (255 * std)).astype(np.float32)
        shift = (-mean / std).astype(np.float32)
        if self.dtype == "float32":
            return ImageOutput.float32(scale, shift, last=last)
        return ImageOutput.table16(bits16(scale, shift, self.dtype), self.dtype, last=last)

    def _moments(self, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, std = self.mean, self.std
        if mean is None or std is None:
            if channels == 3 or self.dtype == "uint8":
                return np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
            raise SchemaError("NormalizeImage: images are grey; give mean=(m,) and std=(s,), there is no usual one")
        if len(mean) not in (1, channels):
            raise SchemaError(f"NormalizeImage: mean has {len(mean)} numbers; the images have {channels} channels")
        return np.resize(np.array(mean), channels), np.resize(np.array(std), channels)
