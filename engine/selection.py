"""The selection: which rows of the source are left after all filters, so that the order of an epoch is known beforehand."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.bad_rows import OnBad
from forebay.engine.dependencies import needed_for, read_for_pass
from forebay.engine.graph import Graph
from forebay.engine.ordered import threads_in_order
from forebay.engine.plan import refuse_joins, single_stage
from forebay.engine.run_stages import ROW_BITS, Tally, run_stages, sample_ids
from forebay.formats.fragment import Fragment
from forebay.formats.source import Source
from forebay.transforms.stage import Stage
from forebay.transforms.transform import Rows

_ROW_MASK = np.uint64((1 << ROW_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows left, by fragment. Position p of the selection is the p-th row left, in source order."""

    counts: NDArray[np.int64]
    """(F,) rows left in each fragment."""
    kept: dict[int, NDArray[np.uint32]] = field(default_factory=dict)
    """Fragment ordinal -> rows left, ascending; a fragment that lost nothing is not in it."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(F + 1,) position of the first row of each fragment, and the number of rows in all."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])

    def __len__(self) -> int:
        return int(self.counts.sum())

    def rows_of(self, fragment: int) -> NDArray[np.uint32]:
        """(n,) rows left in one fragment."""
        found = self.kept.get(fragment)
        return np.arange(self.counts[fragment], dtype=np.uint32) if found is None else found

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(fragment ordinals, rows in them) at `positions`; both (N,)."""
        offsets = self.offsets
        fragments = np.searchsorted(offsets, positions, side="right") - 1
        rows = positions - offsets[fragments]
        if self.kept:
            for one in np.unique(fragments):
                kept = self.kept.get(int(one))
                if kept is not None:
                    here = fragments == one
                    rows[here] = kept[rows[here]]
        return fragments, rows


def select(source: Source, graph: Graph, *, threads: int | None = None, on_bad: OnBad = "raise") -> Selection:
    """Find the rows left after the filters of `graph`. Reads nothing where counts tell, else only what filters depend on."""
    refuse_joins(graph)
    filters = [at for at, one in enumerate(graph.transforms) if one.kind in ("filter", "dataset")]
    fragments = source.fragments()
    if not filters and all(one.rows is not None for one in fragments):
        return Selection(np.array([one.rows for one in fragments], np.int64))
    graph.require_fitted("its rows can be counted")
    stages, columns = _filter_stages(source.schema, graph, filters)

    def left(numbered: tuple[int, Fragment]) -> tuple[int, NDArray[np.uint64]]:
        ordinal, fragment = numbered
        row, ids = 0, []
        for batch in read_for_pass(source, graph, fragment, columns, on_bad):
            rows = Rows(sample_ids(ordinal, row, batch.num_rows))
            row += batch.num_rows
            ids.append(run_stages(stages, batch, rows, on_bad=on_bad, tally=Tally(), file=fragment.path)[1].ids)
        return row, np.concatenate(ids) if ids else np.zeros(0, np.uint64)

    counts, kept = [], {}
    for ordinal, (read, ids) in enumerate(threads_in_order(left, list(enumerate(fragments)), threads=threads)):
        counts.append(len(ids))
        if len(ids) != read:
            kept[ordinal] = (ids & _ROW_MASK).astype(np.uint32)
    return Selection(np.array(counts, np.int64), kept)


def _filter_stages(schema: pa.Schema, graph: Graph, filters: list[int]) -> tuple[list[Stage], list[str]]:
    runs, columns = needed_for(graph, schema, filters)
    columns = columns or schema.names[:1]
    running = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
    stages: list[Stage] = []
    for at in sorted({*runs, *filters}):
        stages.append(single_stage(graph.transforms[at], running, graph.states[at], at))
        running = stages[-1].schema
    return stages, columns
