"""The chain of a column: the instructions of the column kernel, as the element-wise transforms ask for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels
from forebay.transforms.transform import State

kernel = kernels("columns")
curves = kernels("curves")
integers = kernels("integers")
_yeo_johnson = kernels("yeo_johnson")

STORED: dict[pa.DataType, int] = {
    pa.int8(): kernel.I8,
    pa.uint8(): kernel.U8,
    pa.int16(): kernel.I16,
    pa.uint16(): kernel.U16,
    pa.int32(): kernel.I32,
    pa.uint32(): kernel.U32,
    pa.int64(): kernel.I64,
    pa.float32(): kernel.F32,
    pa.float64(): kernel.F64,
}
"""Types that the kernel reads and writes, with its number for each."""
NUMPY: dict[pa.DataType, np.dtype[Any]] = {one: np.dtype(one.to_pandas_dtype()) for one in STORED}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, with its parameters (see `kernels.columns`)."""

    code: int
    f: tuple[float, ...] = ()
    i: tuple[int, ...] = ()
    table: NDArray[Any] | None = None
    """Parameters of a called function; the stage keeps them alive, `i[2]` and `i[3]` become their address and
    length."""
    reason: str = ""
    """Why a row that this instruction finds bad is bad."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What one transform does to one column."""

    instructions: tuple[Instruction, ...]
    type: pa.DataType
    """Type after it."""
    fills: bool = False
    """Whether no null is left after it."""
    source: Callable[[pa.Array], pa.Array] | None = field(default=None, compare=False)
    """Makes a column the kernel can read from one it cannot (strings), before the instructions run."""
    start: pa.DataType | None = None
    """Type of what `source` makes."""


@runtime_checkable
class ElementWise(Protocol):
    """A transform of the family "columns" that works on each of its columns alone and can be fused."""

    def chains(self, schema: pa.Schema, state: State | None) -> Mapping[str, Chain]:
        """For each column it changes, what it does."""


def fill_null(value: float, type: pa.DataType, *, nan: bool = False) -> list[Instruction]:
    """Null, and where asked for NaN, becomes `value`."""
    code = kernel.FILL_ALL if nan and pa.types.is_floating(type) else kernel.FILL_NULL
    return [Instruction(code, *_parameters((value,), type))]


def clip(low: float, high: float, type: pa.DataType) -> Instruction:
    return Instruction(kernel.CLIP, *_parameters((low, high), type))


def affine(minus: float, times: float, plus: float = 0.0) -> Instruction:
    """(x - minus) * times + plus, in double precision; of an integer column as float32."""
    return Instruction(kernel.AFFINE, (minus, times, plus))


def check(low: float, high: float, type: pa.DataType, *, reason: str) -> Instruction:
    f, i = _parameters((low, high), type)
    return Instruction(kernel.CHECK, f, i, reason=reason)


def curve(code: int, parameters: Sequence[float] | NDArray[Any] = ()) -> Instruction:
    """A function of `kernels.curves`, for floating columns."""
    table = np.ascontiguousarray(parameters, np.float64)
    return Instruction(kernel.CALL, (), (curves.curve_into.address, code), table)


def power_curve(power: float) -> Instruction:
    """Yeo and Johnson's transform of a float32 column, in float32."""
    values: list[float] = []
    for given in (power, 2.0 - power):
        exponent = given if abs(given) > 1e-10 else 0.0  # where a float32 sees no difference from the logarithm
        for one in (exponent, _yeo_johnson.SHARE / exponent if exponent else 0.0):
            high = float(np.float32(one))
            values += [high, one - high]
    values += [np.inf if one >= -1e-10 else -1.0 / one for one in (power, 2.0 - power)]
    return Instruction(kernel.CALL, (), (_yeo_johnson.yeo_johnson_into.address, 0), np.array(values, np.float64))


def integer(code: int, parameters: Sequence[int] | NDArray[Any] = ()) -> Instruction:
    """A function of `kernels.integers`, for integer columns."""
    table = np.ascontiguousarray(parameters, np.int64)
    return Instruction(kernel.CALL, (), (integers.integer_into.address, code), table)


def convert(before: pa.DataType, after: pa.DataType) -> list[Instruction]:
    """Change the type; floating values go to integers clipped to the new type's range and rounded toward zero."""
    if before == after:
        return []
    code = {kernel.F32: kernel.TO_F32, kernel.F64: kernel.TO_F64, kernel.U32: kernel.TO_I64, kernel.I64: kernel.TO_I64}
    low, high = bounds(after) if pa.types.is_integer(after) else (0, 0)
    return [Instruction(code.get(STORED[after], kernel.TO_I32), (), (low, high))]


def bounds(type: pa.DataType) -> tuple[int, int]:
    """Least and greatest value of an integer type."""
    info = np.iinfo(NUMPY[type])
    return int(info.min), int(info.max)


def floating(type: pa.DataType) -> pa.DataType:
    """The floating type that a column of this type is normalized in: its own, float32 for integers."""
    return type if pa.types.is_floating(type) else pa.float32()


def _parameters(values: tuple[float, ...], type: pa.DataType) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if pa.types.is_floating(type):
        return tuple(float(one) for one in values), ()
    return (), tuple(int(one) for one in values)
