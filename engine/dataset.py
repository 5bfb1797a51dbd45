"""Dataset: a source and a graph. Lazy and immutable; everything that runs is asked for by name.

Writing, fitting, caching and explaining are imported when they are asked for: a process that loads batches has no use for them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from forebay.engine.bad_rows import OnBad
from forebay.engine.fingerprint import fingerprint
from forebay.engine.graph import Graph
from forebay.engine.ordered import available_threads, threads_in_order
from forebay.engine.plan import Plan, make_plan, refuse_joins
from forebay.engine.rows_at import RowsAt, rows_as_dicts
from forebay.engine.run_stages import Tally, run_stages, sample_ids
from forebay.engine.selection import Selection, select
from forebay.engine.uncached import uncached
from forebay.formats.fragment import Fragment
from forebay.formats.schemas import Unify
from forebay.formats.source import Source, open_source
from forebay.transforms.map_batches import BatchFunction, map_batches
from forebay.transforms.select import Select
from forebay.transforms.transform import Rows, Transform
from forebay.transforms.where import where

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.compute as pc

    from forebay.engine.fit_pass import Progress as FitProgress
    from forebay.engine.write import Progress as WriteProgress
    from forebay.engine.write_report import WriteReport


class Dataset:
    """Rows of a source after a graph of transforms.

    Every method that adds to the graph returns a new Dataset. It is also a map-style dataset for torch (`len`, `[i]`,
    `__getitems__`), so any loader can use it; `forebay.DataLoader` is where it is fast.
    """

    __forebay_dataset__: ClassVar[bool] = True

    def __init__(self, source: Source, graph: Graph | None = None, *, seed: int = 0, first_op: int = 0) -> None:
        self.source = source
        self.graph = graph or Graph()
        self.seed = seed
        self.first_op = first_op
        """Transforms that stand in a cache, before the graph: random draws are keyed by position behind them."""
        self.cache_note = ""  # what `explain` says of a cache that was asked for where it pays
        self.epoch = 0
        """What random transforms draw from when rows are taken one by one; a loader keeps its own."""

    # ---- what is added to the graph -------------------------------------------------------------------------------

    def filter(self, expression: "str | pl.Expr | pc.Expression") -> "Dataset":
        """Keep rows for which the expression is true: SQL-like text, a Polars or an Arrow expression."""
        return self._then(where(expression))

    def select(self, *columns: str | Sequence[str]) -> "Dataset":
        """Keep these columns, in this order."""
        names = [
            name
            for one in columns
            for name in (one if isinstance(one, Iterable) and not isinstance(one, str) else [one])
        ]
        return self._then(Select(tuple(names)))

    def apply(self, *transforms: Transform) -> "Dataset":
        """Add transforms, in order."""
        return self._then(*transforms)

    def map_batches(
        self,
        function: BatchFunction,
        *,
        version: str,
        columns: Sequence[str] | None = None,
        schema: pa.Schema | None = None,
    ) -> "Dataset":
        """Add a function of your own on a `pyarrow.RecordBatch`, which returns one with as many rows.

        Args:
            function: importable by name if it is to run in other processes.
            version: yours to change when the function does.
            columns: the columns it reads; None: all.
            schema: what it returns; found by a call on no rows when not given.
        """
        return self._then(
            map_batches(function, version=version, columns=None if columns is None else tuple(columns), schema=schema)
        )

    def fit(
        self, *, threads: int | None = None, on_bad: OnBad = "raise", progress: "FitProgress | None" = None
    ) -> "Dataset":
        """Let the fitted transforms learn from the data, in as few passes as they depend on each other."""
        fitted = _fit(self.source, self.graph, threads=threads, on_bad=on_bad, progress=progress)
        return Dataset(self.source, fitted, seed=self.seed, first_op=self.first_op)

    def cache(
        self,
        dir: str | None = None,
        limit: str | int = "200GB",
        *,
        compression: Literal["lz4"] | None = None,
        holds: Literal["results", "shards"] = "results",
        when: Literal["always", "pays"] = "always",
    ) -> "Dataset":
        """Compute what stands before the first random transform once, keep it on disk, and go on from there.

        Args:
            dir: the cache's directory; None: `$FOREBAY_CACHE`, else `~/.cache/forebay`. Data sets and processes may share it.
            limit: most bytes in it.
            compression: "lz4" where the disk is the bottleneck; None maps units without a copy.
            holds: "results": what the transforms give. "shards": the bytes of remote shards as they came over the network,
                which takes less room and no part of the transforms; local files are left where they are.
            when: "pays": only where that takes more than twice as long as reading it, measured now on the first rows; order,
                random numbers and states are those without a cache either way. `explain` says what was found.

        Raises:
            NotFittedError: a transform before the cache has not learned.
            SpecError: `holds`, `when` or the limit is not one of these; shards behind another cache.
        """
        placed = _placed(self, holds, when, dir=dir, limit=limit, compression=compression)
        made = Dataset(placed.source, placed.graph, seed=self.seed, first_op=placed.first_op)
        made.cache_note = placed.note or self.cache_note
        return made

    # ---- what it is -----------------------------------------------------------------------------------------------

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema of the rows that come out."""
        return self.graph.schemas(self.source.schema)[-1]

    def plan(self, *, start: int = 0, stop: int | None = None, cut: int | None = None) -> Plan:
        """What will run. See `make_plan`."""
        return make_plan(self.source.schema, self.graph, start=start, stop=stop, cut=cut, first_op=self.first_op)

    @cached_property
    def selection(self) -> Selection:
        """The rows left after all filters: found in one pass over the columns that filters depend on, once."""
        return select(*uncached(self.source, self.graph))

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits for the data and what is done to it."""
        source, graph = uncached(self.source, self.graph)
        return fingerprint(source.identity(), graph.fingerprint())

    def explain(self, *, sample: int = 0) -> str:
        """The plan as a tree; with `sample` rows, what each step costs on them."""
        return _explained(self, sample=sample)

    def __repr__(self) -> str:
        steps = "".join(f".{type(one).__name__}" for one in self.graph.transforms)
        more = f" and {len(self.source.paths) - 1} more" if len(self.source.paths) > 1 else ""
        return f"<forebay.Dataset {self.source.format} {self.source.paths[0]}{more}{steps}>"

    # ---- what it gives --------------------------------------------------------------------------------------------

    def write(
        self, path: str, *, progress: "Callable[[WriteProgress], None] | None" = None, **options: Any
    ) -> "WriteReport":
        """Write shards, manifest and fitted state to a directory. `options` are the fields of `WriteOptions`."""
        return _written(self, path, options, progress)

    def head(self, rows: int = 10) -> pa.Table:
        """The first rows that come out."""
        taken: list[pa.RecordBatch] = []
        left = rows
        for batch in self.iter_batches(threads=1):
            taken.append(batch.slice(0, left))
            left -= taken[-1].num_rows
            if left <= 0:
                break
        return pa.Table.from_batches(taken, schema=self.plan().schema)

    def iter_batches(self, *, threads: int | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, as batches of the size the reader gives; empty ones left out."""
        refuse_joins(self.graph)
        plan = self.plan()

        def run(numbered: tuple[int, Fragment]) -> list[pa.RecordBatch]:
            return list(self._run_fragment(plan, *numbered))

        numbered = list(enumerate(self.source.fragments()))
        count = threads or available_threads()
        if count == 1:  # nothing is read ahead, so that `head` touches no more than it shows
            for one in numbered:
                yield from self._run_fragment(plan, *one)
            return
        local = self.source.store.local
        for batches in threads_in_order(run, numbered, threads=count) if local else _read_ahead(run, numbered):
            yield from batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.iter_batches()

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Row `index` as a dict of Python and NumPy values."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a data set of {len(self)} rows")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows at once: each fragment is read once."""
        return rows_as_dicts(self.take(np.asarray(indices, np.int64)))

    def take(self, positions: np.ndarray[Any, np.dtype[np.int64]]) -> pa.RecordBatch:
        """Rows at `positions` (N,) of the selection, in that order, after all transforms."""
        return self._rows_at.take(positions, self.selection, self.seed, self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Which pass random transforms draw for, when rows are taken one by one."""
        self.epoch = epoch

    # ---- inside ---------------------------------------------------------------------------------------------------

    @cached_property
    def _rows_at(self) -> RowsAt:
        return RowsAt(self.source, self.plan())

    def _run_fragment(self, plan: Plan, ordinal: int, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        row = 0
        for batch in self.source.read(fragment, columns=plan.columns, filter=plan.pushed):
            rows = Rows(sample_ids(ordinal, row, batch.num_rows), self.seed, self.epoch)
            row += batch.num_rows
            made, _ = run_stages(plan.stages, batch, rows, on_bad="raise", tally=Tally(), file=fragment.path)
            if made.num_rows:
                yield made

    def _then(self, *transforms: Transform) -> "Dataset":
        made = Dataset(self.source, self.graph.then(*transforms), seed=self.seed, first_op=self.first_op)
        made.cache_note = self.cache_note
        made.graph.schemas(self.source.schema)  # refuse now, where the user's line is, not when it runs
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_rows_at"}


def scan(path: Any, format: str | None = None, *, schema: Unify = "strict", **options: Any) -> Dataset:
    """A Dataset over a file, directory, glob, URL, or list of these. Reads nothing yet.

    Args:
        path: `data/*.parquet`, a directory that `write` made, `s3://bucket/prefix`, an image folder, ...
        format: "parquet", "arrow", "jsonl", "csv", "images" or "webdataset"; None: by suffix.
        schema: "strict": all files have the same columns and types. "union": missing ones become null, numbers widen.
        options: of the format (CSV: delimiter, null_values, types, newlines_in_values).

    Raises:
        SourceError: nothing is there.
        SpecError: files of several formats; an option the format does not have.
    """
    return Dataset(open_source(path, format, schema=schema, options=options))


# What only some processes ask for, and is imported then.


def _fit(source: Source, graph: Graph, **options: Any) -> Graph:
    from forebay.engine.fit_pass import fit

    return fit(source, graph, **options)


def _placed(dataset: Dataset, holds: Any, when: Any, **options: Any) -> Any:
    from forebay.engine.cache_options import CacheOptions
    from forebay.engine.caching import place

    return place(dataset, CacheOptions(**options), holds, when)


def _explained(dataset: Dataset, *, sample: int) -> str:
    from forebay.engine.explain import explain

    return explain(dataset, sample=sample)


def _written(dataset: Dataset, path: str, options: dict[str, Any], progress: Any) -> "WriteReport":
    from forebay.engine.write import write
    from forebay.engine.write_options import write_options

    return write(dataset.source, dataset.graph, path, write_options(**options), progress=progress)


def _read_ahead(run: Any, numbered: Any) -> Iterator[list[pa.RecordBatch]]:
    from forebay.engine.read_ahead import read_ahead

    return read_ahead(run, numbered, size=lambda one: one[1].nbytes)
