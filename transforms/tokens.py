"""ShiftTokens: a row of L + 1 token ids becomes inputs and labels of L, as a causal language model is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms.compiled import kernels
from forebay.transforms.pieces_stage import check_take
from forebay.transforms.stage import ColumnRows, Gathering, TensorSpec
from forebay.transforms.token_rows import row_length, row_values
from forebay.transforms.transform import Apply, Kind, Rows, State

_tokens = kernels("tokens")

_ALL: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class ShiftTokens:
    """Inputs are a row's first L tokens, labels its last L; both are int64 tensors of shape (L,). The column itself
    goes.

    In a training batch the rows are gathered from the (memory-mapped) shard and widened straight into both tensors.
    """

    column: str
    """fixed_size_list (or tensor) of L + 1 whole numbers: uint8, uint16, int16, int32, uint32, int64."""
    inputs: str = field(default="input_ids", kw_only=True)
    """Name of the inputs."""
    labels: str = field(default="labels", kw_only=True)
    """Name of the labels."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.inputs or not self.labels or self.inputs == self.labels:
            raise SpecError(
                f"ShiftTokens: inputs is {self.inputs!r} and labels is {self.labels!r}; expected two different names"
            )

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        length = row_length(self, schema, self.column)
        if length < 2:
            raise SchemaError(f"ShiftTokens: rows of {self.column!r} have {length} tokens; expected 2 or more")
        fields = [one for one in schema if one.name != self.column]
        taken = {one.name for one in fields} & {self.inputs, self.labels}
        if taken:
            raise SchemaError(f"ShiftTokens: there is a column {min(taken)!r} already; give other names")
        tensor = pa.fixed_shape_tensor(pa.int64(), (length - 1,))
        made = [pa.field(name, tensor, nullable=False) for name in (self.inputs, self.labels)]
        return pa.schema([*fields, *made], metadata=schema.metadata)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return ShiftStage(self, schema).run


class ShiftStage:
    """`ShiftTokens` bound: a `Stage` and a `SlotStage`."""

    def __init__(self, spec: ShiftTokens, schema: pa.Schema) -> None:
        self.label, self.schema = "ShiftTokens", spec.output_schema(schema)
        self.reads: tuple[str, ...] = (spec.column,)
        self.by_address = True
        self._spec, self._length = spec, row_length(spec, schema, spec.column)
        self._kind = np.dtype(schema.field(spec.column).type.value_type.to_pandas_dtype())

    def tensors(self) -> Mapping[str, TensorSpec]:
        one = TensorSpec((self._length - 1,), np.dtype(np.int64))
        return {self._spec.inputs: one, self._spec.labels: one}

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        names, width = (self._spec.inputs, self._spec.labels), self._length - 1
        out = {name: np.empty((batch.num_rows, width), np.int64) for name in names}
        self.run_into(batch, rows, None, out)
        made = {name: pa.FixedShapeTensorArray.from_numpy_ndarray(out[name]) for name in names if batch.num_rows}
        for name in names:
            made.setdefault(name, pa.array([], self.schema.field(name).type))
        columns = [made[one.name] if one.name in made else batch.column(one.name) for one in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def run_into(
        self,
        batch: pa.RecordBatch,
        rows: Rows,
        take: NDArray[np.int64] | None,
        out: Mapping[str, NDArray[Any]],
    ) -> None:
        n = batch.num_rows if take is None else len(take)
        if n == 0:
            return
        check_take(take, batch.num_rows)
        column = batch.column(self._spec.column)
        if column.null_count:
            null = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
            bad = np.flatnonzero(null if take is None else null[take])
            if len(bad):
                raise BadRows(bad.tolist(), "null instead of tokens", column=self._spec.column)
        places = self._places(n, out)
        values, first = row_values(column)
        index = _ALL if take is None else np.ascontiguousarray(take, np.int64)
        _tokens.shift_into(values, first, self._length, index, take is not None, n, places)

    def gathering(self, found: Mapping[str, ColumnRows], rows: Rows) -> Gathering:
        where, kind = found[self._spec.column].addresses, self._kind

        def into(out: Mapping[str, NDArray[Any]], first: int, stop: int, to: int) -> None:
            if stop > first:
                places = self._places(len(out[self._spec.inputs]), out)
                places[:, 0] += to * places[:, 1]
                how = kind.itemsize, int(kind.kind == "i")
                _tokens.shift_rows_into(*how, where[first:stop], self._length, places)

        return into

    def _places(self, n: int, out: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Address and step of both arrays, for the kernel, which writes by address."""
        found = []
        for name in (self._spec.inputs, self._spec.labels):
            into = out[name]
            if into.dtype != np.int64 or into.shape != (n, self._length - 1) or into.strides[1] != 8:
                raise SchemaError(
                    f"ShiftTokens: the array for {name!r} is {into.dtype}{list(into.shape)} with steps {into.strides}; "
                    f"expected int64[{n}, {self._length - 1}], dense in a row"
                )
            found.append((into.ctypes.data, into.strides[0]))
        return np.array(found, np.int64)
