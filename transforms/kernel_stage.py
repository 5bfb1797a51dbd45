"""The stage of a user's kernel."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.column_chain import NUMPY
from forebay.transforms.columns_stage import ColumnsStage, Lane
from forebay.transforms.pieces_stage import check_take
from forebay.transforms.stage import TensorSpec
from forebay.transforms.transform import Rows


class KernelStage:
    """A `Stage` and a `SlotStage`: gathers the columns a kernel reads with ours, then calls it on whole arrays.

    Its outputs are written where they belong, in a new batch or in the training batch, without a copy.
    """

    def __init__(
        self,
        function: Callable[..., None],
        before: pa.Schema,
        schema: pa.Schema,
        *,
        reads: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        self.label, self.schema = f"Kernel({getattr(function, '__name__', 'function')})", schema
        self.reads: tuple[str, ...] = tuple(reads)
        self._function, self._outputs = function, tuple(outputs)
        narrow = pa.schema([before.field(name) for name in reads])
        lanes = {one.name: (Lane(one.name, (), one.type, start=one.type),) for one in narrow}
        self._gather = ColumnsStage(self.label, narrow, narrow, lanes)

    def tensors(self) -> Mapping[str, TensorSpec]:
        return {name: TensorSpec((), NUMPY[self.schema.field(name).type]) for name in self._outputs}

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        out = {name: np.empty(batch.num_rows, spec.dtype) for name, spec in self.tensors().items()}
        self.run_into(batch, rows, None, out)
        made = {name: pa.array(values) for name, values in out.items()}
        columns = [made[name] if name in made else batch.column(name) for name in self.schema.names]
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
        columns = {name: np.empty(n, spec.dtype) for name, spec in self._gather.tensors().items()}
        self._gather.run_into(batch.select(list(self.reads)), rows, take, columns)
        self._function(*columns.values(), *(out[name] for name in self._outputs))
