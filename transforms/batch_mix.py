"""MixUp and CutMix: rows of a finished training batch are mixed with their neighbours, and so are their labels.

They work on the arrays of the batch, after everything else: `plan.batch_transforms` holds them, and the loader calls
`apply_batch` on each finished batch, with the ids of its rows. Whom a row is mixed with depends on the batch: it is the
row before it, and for the first the last, as torchvision rolls. How much, and where, belongs to the row: its mixing
ratio is drawn from its own id (timm's mode "elem"; torchvision draws one for the whole batch).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.randomness import uniforms
from forebay.transforms.stage import TensorSpec
from forebay.transforms.transform import Apply, Kind, Rows, State

_TRIES = 48
_MIXED = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.float64), np.dtype(np.uint8))


@runtime_checkable
class BatchTransform(Protocol):
    """A transform of kind "batch"."""

    def batch_tensors(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        """Shapes and types after it, of all columns: what a slot is laid out for."""

    def apply_batch(self, out: Mapping[str, NDArray[Any]], rows: Rows, op: int) -> Mapping[str, NDArray[Any]]:
        """Change the batch's arrays in place; those that cannot be are given new ones.

        Args:
            out: column -> (N, ...) array.
            rows: ids of the N rows.
            op: position in the graph.

        Returns:
            The columns whose array is a new one.
        """


@dataclass(frozen=True, slots=True)
class MixUp:
    """Blend each image with the one before it: `ratio * own + (1 - ratio) * other` (Zhang et al. 2018, arXiv:1710.09412).

    Labels become rows of `classes` float32 that sum to 1, blended the same way; labels that are so already stay so.
    uint8 images are rounded, halves up.
    """

    classes: int
    alpha: float = field(default=1.0, kw_only=True)
    """The ratio is drawn from Beta(alpha, alpha); above 0, at most 1."""
    p: float = field(default=1.0, kw_only=True)
    """Probability that a row is mixed."""
    column: str = field(default="image", kw_only=True)
    label: str = field(default="label", kw_only=True)

    kind: ClassVar[Kind] = "batch"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column, self.label)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _schema_after(self, schema)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        raise _only_in_a_loader(self)

    def batch_tensors(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        return {**specs, self.label: TensorSpec((self.classes,), np.dtype(np.float32))}

    def apply_batch(self, out: Mapping[str, NDArray[Any]], rows: Rows, op: int) -> Mapping[str, NDArray[Any]]:
        images = out[self.column]
        if images.dtype not in _MIXED:
            raise SpecError(
                f"MixUp: column {self.column!r} is {images.dtype}, which cannot be blended; use dtype='float32'"
            )
        ratio = _ratios(self, rows, op)

        def blend(own: NDArray[Any], other: NDArray[Any], at: int) -> None:
            mixed = own.astype(np.float32) * ratio[at] + other.astype(np.float32) * (1 - ratio[at])
            own[...] = np.floor(mixed + 0.5) if own.dtype == np.uint8 else mixed

        _each(images, ratio < 1, blend)
        return {self.label: _soft(self, out[self.label], ratio)}


@dataclass(frozen=True, slots=True)
class CutMix:
    """Put a rectangle of the image before into each image (Yun et al. 2019, arXiv:1905.04899).

    Its middle is uniform, its sides are sqrt(1 - ratio) of the image's, cut at the edges; the label's ratio is 1 minus
    the part that it covers then, as in torchvision.
    """

    classes: int
    alpha: float = field(default=1.0, kw_only=True)
    """The ratio is drawn from Beta(alpha, alpha); above 0, at most 1."""
    p: float = field(default=1.0, kw_only=True)
    """Probability that a row is mixed."""
    layout: str = field(default="CHW", kw_only=True)
    """"CHW" or "HWC"."""
    column: str = field(default="image", kw_only=True)
    label: str = field(default="label", kw_only=True)

    kind: ClassVar[Kind] = "batch"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self)
        if self.layout not in ("CHW", "HWC"):
            raise SpecError(f"CutMix: layout is {self.layout!r}; expected 'CHW' or 'HWC'")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column, self.label)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _schema_after(self, schema)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        raise _only_in_a_loader(self)

    def batch_tensors(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        return {**specs, self.label: TensorSpec((self.classes,), np.dtype(np.float32))}

    def apply_batch(self, out: Mapping[str, NDArray[Any]], rows: Rows, op: int) -> Mapping[str, NDArray[Any]]:
        images = out[self.column]
        if self.layout == "HWC":
            images = np.moveaxis(images, -1, 1)
        height, width = images.shape[2:]
        ratio, centre = _ratios(self, rows, op), uniforms(rows, op, 2 * _TRIES + 3)[:, -2:]
        half = 0.5 * np.sqrt(1 - ratio)
        middle_y, middle_x = np.floor(centre[:, 0] * height), np.floor(centre[:, 1] * width)
        top, bottom = (np.clip(middle_y + s * np.trunc(half * height), 0, height).astype(int) for s in (-1, 1))
        left, right = (np.clip(middle_x + s * np.trunc(half * width), 0, width).astype(int) for s in (-1, 1))

        def paste(own: NDArray[Any], other: NDArray[Any], at: int) -> None:
            part = (slice(None), slice(top[at], bottom[at]), slice(left[at], right[at]))
            own[part] = other[part]

        covered = (bottom - top) * (right - left) / (height * width)
        _each(images, covered > 0, paste)
        return {self.label: _soft(self, out[self.label], 1 - covered)}


def _check(op: Any) -> None:
    name = type(op).__name__
    if isinstance(op.classes, bool) or not isinstance(op.classes, int) or op.classes < 2:
        raise SpecError(f"{name}: classes is {op.classes!r}; expected the number of classes, 2 or more")
    if not isinstance(op.alpha, int | float) or not 0 < op.alpha <= 1:
        raise SpecError(f"{name}: alpha is {op.alpha!r}; expected a number above 0, at most 1")
    from forebay.transforms.image_op import check_probability  # a loader knows this module, for its Protocol alone

    check_probability(op, "p", op.p)


def _schema_after(op: Any, schema: pa.Schema) -> pa.Schema:
    """The label becomes a row of `classes` float32."""
    name = type(op).__name__
    for column in (op.column, op.label):
        if column not in schema.names:
            raise SchemaError(f"{name}: no column {column!r}; the columns are {', '.join(schema.names)}")
    image, label = schema.field(op.column).type, schema.field(op.label).type
    if not isinstance(image, pa.FixedShapeTensorType) or len(image.shape) != 3:
        raise SchemaError(
            f"{name}: column {op.column!r} is {image}; expected images of one size (NormalizeImage makes them)"
        )
    soft = pa.fixed_shape_tensor(pa.float32(), (op.classes,))
    if not pa.types.is_integer(label) and label != soft:
        raise SchemaError(f"{name}: column {op.label!r} is {label}; expected integers, or {soft} from an earlier mix")
    return schema.set(schema.get_field_index(op.label), pa.field(op.label, soft, nullable=False))


def _only_in_a_loader(op: Any) -> SpecError:
    return SpecError(
        f"{type(op).__name__} mixes the rows of a finished training batch, so only a loader can run it; leave it out of "
        "what is written"
    )


def _ratios(op: Any, rows: Rows, number: int) -> NDArray[np.float32]:
    """(N,) how much of its own each row keeps: from Beta(alpha, alpha), and 1 where it is not mixed.

    Jöhnk's method (1964): of pairs u^(1/alpha), v^(1/alpha) with uniform u, v the first whose sum is at most 1; up to
    alpha = 1 at least half of the pairs are, so 48 pairs fail once in 10^14, and then the row is not mixed.
    """
    drawn = uniforms(rows, number, 2 * _TRIES + 1)
    first = np.log(1 - drawn[:, 1::2]) / op.alpha
    second = np.log(1 - drawn[:, 2::2]) / op.alpha
    total = np.logaddexp(first, second)
    fits = total <= 0
    at = fits.argmax(axis=1)[:, None]
    ratio = np.exp(np.take_along_axis(first, at, 1) - np.take_along_axis(total, at, 1))[:, 0]
    mixed = fits.any(axis=1) & (drawn[:, 0] < op.p)
    return np.where(mixed, ratio, 1).astype(np.float32)


def _each(images: NDArray[Any], which: NDArray[np.bool_], change: Any) -> None:
    """Call `change(own, other, row)`, from the last row to the first, so that each sees its neighbour as it was."""
    last = images[-1].copy() if len(images) and which[0] else None
    for row in np.flatnonzero(which)[::-1].tolist():
        change(images[row], last if row == 0 else images[row - 1], row)


def _soft(op: Any, labels: NDArray[Any], ratio: NDArray[Any]) -> NDArray[np.float32]:
    """(N, classes) float32: each row's own label by its ratio, the one before by the rest."""
    if labels.ndim == 1:
        if len(labels) and (labels.min() < 0 or labels.max() >= op.classes):
            raise SpecError(
                f"{type(op).__name__}: column {op.label!r} has labels {labels.min()} to {labels.max()}; expected 0 to "
                f"{op.classes - 1}, since classes is {op.classes}"
            )
        soft = np.zeros((len(labels), op.classes), np.float32)
        soft[np.arange(len(labels)), labels.astype(np.int64)] = 1
    else:
        soft = labels
    own = np.asarray(ratio, np.float32)[:, None]
    mixed: NDArray[np.float32] = (soft * own + np.roll(soft, 1, axis=0) * (1 - own)).astype(np.float32, copy=False)
    return mixed
