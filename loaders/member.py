"""A member: one data set as the feed reads it, alone or in a mixture."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.dataset import Dataset
from forebay.engine.epoch_order import EpochOrder, OrderSpec, epoch_order
from forebay.engine.graph import Graph
from forebay.engine.order import mix_key
from forebay.engine.plan import Plan
from forebay.formats.errors import SchemaError, SpecError, UnknownNameError
from forebay.loaders.by_length import ByLength
from forebay.loaders.feed_spec import FeedSpec
from forebay.loaders.mapped_rows import MappedFiles, MappedRows
from forebay.loaders.piece import RowStore
from forebay.loaders.stage_writer import RunStages, StageWriter

WINDOW_ROWS, WINDOW_BYTES = 200_000, 256 << 20
"""A shuffle window has so many rows, or as many as have so many bytes in their files if that is less (images, say)."""
_PASSES_HELD = 3
"""Passes whose readers are kept: a chunk may end one and begin the next."""


class Member:
    """Orders, readers and stages of one data set. What changes is made in the thread that schedules."""

    def __init__(
        self,
        dataset: Dataset,
        spec: FeedSpec,
        *,
        number: int = 0,
        share: tuple[int, int] | None = None,
        run: RunStages | None = None,
    ) -> None:
        """`share`: (rank, world size) where only each position p with p % world_size == rank will be asked for, if it is not
        behind all lanes, nor of a store that is not `own`."""
        self.dataset = dataset
        self.plan: Plan = dataset.plan()
        mapped = dataset.source.random_access
        if spec.shuffle == "global" and not mapped:
            raise SpecError(
                f"shuffle='global' takes any row at any time, which {dataset.source.format} files do not give; write the data "
                "with format='arrow', or use shuffle='window' (what shuffle=True takes here)"
            )
        self.seed = mix_key(spec.seed, number) if number else spec.seed
        """Its own: members' rows have the same ids, and must not draw the same numbers."""
        self._order_spec = OrderSpec(
            shuffle=spec.shuffle, seed=self.seed, window_rows=_window_rows(dataset, spec.window_rows), lanes=spec.lanes
        )
        self._mapped = mapped and spec.shuffle != "window"
        self._threads, self._share = spec.threads, share
        self._files = MappedFiles(dataset.source, self.plan) if self._mapped else None
        self._passes: OrderedDict[tuple[int, bool], RowStore] = OrderedDict()
        self.writer = StageWriter(self.plan, self._path_of, run=run if self.plan.opaque else None)

    @property
    def anywhere(self) -> bool:
        """Whether rows are taken from where they lie, in any order, and none has to be read before another."""
        return self._mapped

    @property
    def rows(self) -> int:
        """Rows of a pass."""
        return len(self.dataset.selection)

    @property
    def window_rows(self) -> int:
        """Rows of a shuffle window."""
        return self._order_spec.window_rows

    def order(self, number: int, *, body: int | None = None) -> EpochOrder:
        """The order of pass `number`; `body`: rows that it has in lanes, where a mixture says so."""
        return epoch_order(self.dataset.selection, self._order_spec, number, mapped=self._mapped, body=body)

    def begin(self) -> None:
        """A new iteration: what an earlier one has read ahead may lie before where this one begins."""
        self._passes.clear()

    def store(self, number: int, *, body: int | None = None, own: bool = True) -> RowStore:
        """The reader of pass `number`; `own`: of this rank's rows only, else of any."""
        found = self._passes.get((number, own))
        if found is None:
            self._passes.pop((number, not own), None)  # its windows would be held beside those of this one
            order = self.order(number, body=body)
            if self._files is not None:
                found = MappedRows(self._files, order)
            else:
                from forebay.loaders.decoded_rows import DecodedRows  # and what decodes, which mapped files do without

                found = DecodedRows(
                    self.dataset.source,
                    self.plan,
                    order,
                    threads=self._threads,
                    share=self._share if own else None,
                    following=lambda: self.order(number + 1),
                )
            self._passes[number, own] = found
            while len(self._passes) > _PASSES_HELD:
                self._passes.popitem(last=False)
        return found

    def lengths(self, by: ByLength) -> NDArray[np.int32]:
        """(n,) length of each row, in the selection's own order; reads the column once.

        Raises:
            UnknownNameError: there is no such column.
            SchemaError: it has no length.
        """
        if by.column not in self.dataset.schema.names:
            raise UnknownNameError.of("column", by.column, self.dataset.schema.names, where="ByLength")
        whole = self.dataset
        rowwise = slice(0, len(whole.graph.transforms) - len(self.plan.batch_transforms))  # batch transforms stand last
        graph = Graph(whole.graph.transforms[rowwise], whole.graph.states[rowwise])
        bare = Dataset(whole.source, graph, seed=whole.seed, first_op=whole.first_op)
        parts = [_lengths(batch.column(0), by.column) for batch in bare.select(by.column).iter_batches()]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def _path_of(self, fragment: int) -> str:
        return self.dataset.source.fragments()[fragment].path


def _window_rows(dataset: Dataset, given: int | None) -> int:
    """Rows of a window: what was asked for, else as many as a file size allows."""
    if given is not None:
        return given
    nbytes = sum(one.nbytes for one in dataset.source.fragments())
    return max(1, min(WINDOW_ROWS, WINDOW_BYTES * len(dataset.selection) // max(nbytes, 1)))


def pass_number(epoch: int, lap: int) -> int:
    """Number of a member's pass: its first in an epoch has the epoch's, later ones (a member that begins again) others."""
    return epoch if lap == 0 else mix_key(epoch, lap) >> 1


def _lengths(column: pa.Array, name: str) -> NDArray[np.int32]:
    import pyarrow.compute as pc  # megabytes, which only batches by length need

    found: Any = None
    if pa.types.is_integer(column.type):
        found = column
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        found = pc.list_value_length(column)
    elif pa.types.is_string(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_string(column.type):
        found = pc.binary_length(column)
    if found is None:
        raise SchemaError(
            f"ByLength: column {name!r} is {column.type}; expected lists, text, or whole numbers that are lengths"
        )
    return np.asarray(found.fill_null(0).to_numpy(zero_copy_only=False), np.int32)
