"""NormalizeRows: scale each row's features to length 1."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import floating
from forebay.transforms.column_names import NUMERIC, numeric, retyped, set_columns, typed
from forebay.transforms.transform import Apply, Kind, Rows, State


@dataclass(frozen=True, slots=True)
class NormalizeRows:
    """Divide the columns of a row by their common norm, as scikit-learn's Normalizer. A row of zeros stays as it is.

    Floating columns keep their type, integers become float32. NaN makes its row NaN; null counts as 0 and stays null.
    """

    columns: tuple[str, ...]
    norm: Literal["l1", "l2"] = field(default="l2", kw_only=True)
    """"l2": root of the sum of squares. "l1": sum of absolute values."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if self.norm not in ("l1", "l2"):
            raise SpecError(f"NormalizeRows: norm is {self.norm!r}; expected 'l1' or 'l2'")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        return retyped(schema, self.columns, floating)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        after = self.output_schema(schema)

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            x_NC = np.column_stack([_doubles(batch.column(name)) for name in self.columns])
            size = np.abs(x_NC).sum(1) if self.norm == "l1" else np.sqrt(np.square(x_NC).sum(1))
            x_NC /= np.where(size == 0.0, 1.0, size)[:, None]
            made = {name: batch.column(name) for name in after.names}
            for at, name in enumerate(self.columns):
                null = made[name].is_null().to_numpy(zero_copy_only=False) if made[name].null_count else None
                made[name] = pa.array(x_NC[:, at].astype(after.field(name).type.to_pandas_dtype()), mask=null)
            return pa.RecordBatch.from_arrays(list(made.values()), schema=after)

        return apply


def _doubles(column: pa.Array) -> NDArray[np.float64]:
    return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False), np.float64)
