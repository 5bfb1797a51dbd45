"""MapBatches: the user's own function on a RecordBatch. What `.map_batches(fn)` adds to the graph."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from forebay.formats.errors import DataError, SchemaError, SpecError
from forebay.transforms.transform import Apply, Kind, Rows, State

BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class MapBatches:
    """Call `function(batch)` on the columns it reads; it returns a RecordBatch with as many rows.

    Its output columns replace those of the same name and are added otherwise; columns it does not read pass by it.
    """

    function: str
    """Where it is found again in another process: "package.module:name". A function that cannot be imported that way (a
    lambda, a closure, one typed at a prompt) is kept in `callable` alone and runs in this process only."""
    revision: str = field(kw_only=True)
    """Yours to raise when the function changes: it is all that caches and resumed outputs know of its body."""
    columns: tuple[str, ...] | None = field(default=None, kw_only=True)
    """Columns it reads; None reads all."""
    schema: str = field(default="", kw_only=True)
    """Schema of what it returns, as base64 of Arrow's serialized schema; found by a call on no rows when not given."""
    callable: BatchFunction | None = field(default=None, kw_only=True, repr=False, compare=False)

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.revision:
            raise SpecError(
                f"map_batches({self.function}): version is missing; give a short text such as '1' and change it when the "
                "function changes, since a cache cannot see that by itself"
            )
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))

    @property
    def importable(self) -> bool:
        """Whether another process can find the function by its name."""
        module, _, name = self.function.partition(":")
        return bool(module) and module != "__main__" and name.isidentifier()

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return tuple(schema.names) if self.columns is None else self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        missing = [name for name in self.reads(schema) if name not in schema.names]
        if missing:
            raise SchemaError(
                f"map_batches({self.function}) reads column {missing[0]!r}, which is not there; columns: "
                f"{', '.join(schema.names)}"
            )
        merged = schema
        for one in self._returned(schema):
            at = merged.get_field_index(one.name)
            merged = merged.append(one) if at < 0 else merged.set(at, one)
        return merged

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        function, reads, returned = self._function(), list(self.reads(schema)), self._returned(schema)
        target = self.output_schema(schema)

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            made = _checked(function(batch.select(reads)), returned, batch.num_rows, self.function)
            arrays = [made.column(name) if name in made.schema.names else batch.column(name) for name in target.names]
            return pa.RecordBatch.from_arrays(arrays, schema=target)

        return apply

    def _function(self) -> BatchFunction:
        if self.callable is not None:
            return self.callable
        module, _, name = self.function.partition(":")
        try:
            found: BatchFunction = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise SpecError(f"map_batches: function {self.function!r} cannot be imported: {error}") from error
        return found

    def _returned(self, schema: pa.Schema) -> pa.Schema:
        if self.schema:
            import base64

            return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.schema)))
        reads = pa.schema([schema.field(name) for name in self.reads(schema)])
        try:
            made = self._function()(pa.RecordBatch.from_pylist([], schema=reads))
        except Exception as error:  # the user's own function may raise anything
            raise SpecError(
                f"map_batches({self.function}): a call on no rows, which tells the columns it returns, raised "
                f"{type(error).__name__}: {error}; let it accept an empty batch, or give schema=pa.schema([...])"
            ) from error
        return _checked(made, None, 0, self.function).schema


def map_batches(
    function: BatchFunction,
    *,
    version: str,
    columns: tuple[str, ...] | list[str] | None = None,
    schema: pa.Schema | None = None,
) -> MapBatches:
    """The transform for the user's own function."""
    import base64

    module, name = (
        getattr(function, "__module__", "") or "",
        getattr(function, "__qualname__", repr(function)),
    )
    return MapBatches(
        f"{module}:{name}",
        revision=version,
        columns=None if columns is None else tuple(columns),
        schema="" if schema is None else base64.b64encode(schema.serialize().to_pybytes()).decode(),
        callable=function,
    )


def _checked(made: Any, returned: pa.Schema | None, rows: int, name: str) -> pa.RecordBatch:
    if not isinstance(made, pa.RecordBatch):
        raise DataError(f"map_batches({name}) returned {type(made).__name__}; expected a pyarrow RecordBatch")
    if made.num_rows != rows:
        raise DataError(
            f"map_batches({name}) returned {made.num_rows} rows for {rows}; expected as many rows as it was given (use "
            ".filter to take rows out)"
        )
    if returned is not None and not made.schema.equals(returned):
        raise SchemaError(
            f"map_batches({name}) returned columns {made.schema.to_string(show_field_metadata=False)!r}; declared: "
            f"{returned.to_string(show_field_metadata=False)!r}"
        )
    return made
