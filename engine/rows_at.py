"""Rows at any positions, after all transforms: what makes a Dataset a map-style one."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.plan import Plan
from forebay.engine.run_stages import Tally, run_stages, sample_ids
from forebay.engine.selection import Selection
from forebay.formats.schemas import no_rows
from forebay.formats.source import Source
from forebay.transforms.transform import Rows

_FRAGMENTS_HELD = 2


class RowsAt:
    """Takes rows of a source by position. The last few fragments are kept decoded, since neighbours are often asked for."""

    def __init__(self, source: Source, plan: Plan) -> None:
        self._source, self._plan = source, plan
        self._held: OrderedDict[int, pa.RecordBatch] = OrderedDict()

    def take(self, positions: NDArray[np.int64], selection: Selection, seed: int, epoch: int) -> pa.RecordBatch:
        """Rows at `positions` (N,) of the selection, in that order."""
        ordinals, rows = selection.locate(positions)
        parts: list[pa.RecordBatch] = []
        places: list[NDArray[Any]] = []
        for ordinal in np.unique(ordinals).tolist():
            here = np.flatnonzero(ordinals == ordinal)
            raw = self._fragment(ordinal).take(pa.array(rows[here]))
            ids = sample_ids(ordinal, 0, 1)[0] + rows[here].astype(np.uint64)
            path = self._source.fragments()[ordinal].path
            made, _ = run_stages(
                self._plan.stages, raw, Rows(ids, seed, epoch), on_bad="raise", tally=Tally(), file=path
            )
            parts.append(made)
            places.append(here)
        merged = pa.Table.from_batches(parts, schema=self._plan.schema).combine_chunks()
        back = np.empty(len(positions), np.int64)
        back[np.concatenate(places) if places else []] = np.arange(len(positions))
        ordered = merged.take(pa.array(back)).combine_chunks().to_batches()
        return ordered[0] if ordered else no_rows(self._plan.schema)

    def _fragment(self, ordinal: int) -> pa.RecordBatch:
        """One fragment's source columns, decoded."""
        held = self._held
        if ordinal not in held:
            plan, fragment = self._plan, self._source.fragments()[ordinal]
            read = self._source.read(fragment, columns=plan.columns)
            batches = pa.Table.from_batches(read, schema=plan.source_schema).combine_chunks().to_batches()
            held[ordinal] = batches[0] if batches else no_rows(plan.source_schema)
            while len(held) > _FRAGMENTS_HELD:
                held.popitem(last=False)
        held.move_to_end(ordinal)
        return held[ordinal]


def rows_as_dicts(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Each row as a dict of Python and NumPy values: what torch's own loader collates. Tensors keep their shape."""
    columns: dict[str, Any] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if isinstance(field.type, pa.FixedShapeTensorType):
            columns[field.name] = column.to_numpy_ndarray()
        elif (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)) and column.null_count == 0:
            columns[field.name] = column.to_numpy(zero_copy_only=False)
        elif pa.types.is_fixed_size_list(field.type) and column.null_count == 0:
            values = column.flatten().to_numpy(zero_copy_only=False)
            columns[field.name] = values.reshape(len(column), field.type.list_size)
        else:
            columns[field.name] = column.to_pylist()
    return [{name: values[row] for name, values in columns.items()} for row in range(batch.num_rows)]
