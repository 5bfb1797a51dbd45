"""Where: keep the rows for which an expression is true. What `.filter(...)` adds to the graph."""

import base64
import json
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.transform import Keep, Kind, Rows, State

if TYPE_CHECKING:
    import polars as pl  # at run time only where there is a filter: a fifth of a second and 20 MB
    import pyarrow.compute as pc  # the same, and 4 MB

Dialect = Literal["sql", "polars", "arrow"]


@dataclass(frozen=True, slots=True)
class Where:
    """Keep rows for which `expression` is true. False and null go, as in SQL."""

    expression: str
    """SQL-like text ("arr_delay is not null and distance > 100"); for the other dialects the serialized expression."""
    dialect: Dialect = "sql"
    """"sql": text, evaluated by Polars. "polars" and "arrow": what `where(...)` makes of expression objects."""

    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.dialect not in ("sql", "polars", "arrow"):
            raise SpecError(f"Where: dialect is {self.dialect!r}; expected 'sql', 'polars' or 'arrow'")
        _parse(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        if self.dialect == "arrow":  # Arrow does not tell which fields an expression names, so try them one by one
            text = str(_arrow(self))
            return tuple(name for name in schema.names if name in text)
        return tuple(dict.fromkeys(_polars(self).meta.root_names()))

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        missing = [name for name in self.reads(schema) if name not in schema.names]
        if missing:
            raise SchemaError(
                f"filter {describe(self)!r} names column {missing[0]!r}, which is not there; columns: "
                f"{', '.join(schema.names)}"
            )
        import polars as pl

        try:
            nothing = [pa.nulls(0, one.type) for one in schema]  # from_pylist cannot make every type of tensor
            made = self.bind(schema, None, 0)(
                pa.RecordBatch.from_arrays(nothing, schema=schema), Rows(np.zeros(0, np.uint64))
            )
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise SchemaError(f"filter {describe(self)!r} does not fit the columns: {error}") from error
        assert made.dtype == np.bool_
        return schema

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Keep:
        if self.dialect == "arrow":
            return _arrow_keep(_arrow(self))
        return _polars_keep(_polars(self), self.reads(schema))


def where(expression: "str | pl.Expr | pc.Expression") -> Where:
    """The transform for a filter given as SQL-like text, a Polars expression or an Arrow expression.

    Raises:
        SpecError: the text does not parse, or the object is none of the three.
    """
    if isinstance(expression, str):
        return Where(expression)
    import polars as pl
    import pyarrow.compute as pc

    if isinstance(expression, pl.Expr):
        return Where(base64.b64encode(expression.meta.serialize()).decode(), "polars")
    if isinstance(expression, pc.Expression):
        return Where(base64.b64encode(expression.__reduce__()[1][0]).decode(), "arrow")
    raise SpecError(
        f"a filter is {type(expression).__name__}; expected text like 'x > 0 and y is not null', a Polars expression or "
        "an Arrow compute expression"
    )


def describe(filter: Where) -> str:
    """The filter as a person would write it."""
    return filter.expression if filter.dialect == "sql" else str(_parse(filter))


def pushdown(filter: Where, schema: pa.Schema) -> "pc.Expression | None":
    """A weaker Arrow filter that Parquet statistics can use: the conjuncts that compare a column with a constant.

    Rows that fail it fail the filter; rows that pass it may still fail. None when no conjunct is of that shape.
    `schema` is that of the files: for Polars NaN is greater than any number while Parquet's statistics leave NaN out,
    so `x > 5` on a floating-point column cannot be pushed down.
    """
    if filter.dialect == "arrow":
        return _arrow(filter)
    tree = json.loads(_polars(filter).meta.serialize(format="json"))
    parts = [part for part in (_conjunct(item, schema) for item in _conjuncts(tree)) if part is not None]
    return reduce(lambda left, right: left & right, parts) if parts else None


def _parse(filter: Where) -> "pl.Expr | pc.Expression":
    return _arrow(filter) if filter.dialect == "arrow" else _polars(filter)


def _polars(filter: Where) -> "pl.Expr":
    import polars as pl

    if filter.dialect == "sql":
        try:
            return pl.sql_expr(filter.expression)
        except pl.exceptions.PolarsError as error:
            raise SpecError(
                f"filter {filter.expression!r} does not parse: {error}; expected SQL-like text such as "
                "'x > 0 and y is not null'"
            ) from error
    return pl.Expr.deserialize(base64.b64decode(filter.expression))


def _arrow(filter: Where) -> "pc.Expression":
    import pyarrow.compute as pc

    return pc.Expression._deserialize(pa.py_buffer(base64.b64decode(filter.expression)))


def _polars_keep(expression: "pl.Expr", columns: tuple[str, ...]) -> Keep:
    import polars as pl

    def keep(batch: pa.RecordBatch, rows: Rows) -> NDArray[np.bool_]:
        frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch.select(columns)])))
        mask = frame.select(expression.fill_null(False).alias("keep"))["keep"]
        if mask.dtype != pl.Boolean:
            raise SchemaError(f"filter {expression} gives {mask.dtype}; expected a condition (true or false)")
        found = mask.to_numpy()
        return np.broadcast_to(found, (batch.num_rows,)) if len(found) != batch.num_rows else found

    return keep


def _arrow_keep(expression: "pc.Expression") -> Keep:
    import pyarrow.compute as pc
    import pyarrow.dataset as pads  # a fifth of a second that the other dialects need not wait for

    def keep(batch: pa.RecordBatch, rows: Rows) -> NDArray[np.bool_]:
        table = pads.dataset(pa.Table.from_batches([batch])).to_table(columns={"keep": expression}, use_threads=False)
        mask = pc.fill_null(table["keep"], False)
        return np.asarray(mask.combine_chunks().to_numpy(zero_copy_only=False), np.bool_)

    return keep


_COMPARE = {
    "Eq": "__eq__",
    "NotEq": "__ne__",
    "Lt": "__lt__",
    "LtEq": "__le__",
    "Gt": "__gt__",
    "GtEq": "__ge__",
}
_MIRROR = {"Lt": "Gt", "LtEq": "GtEq", "Gt": "Lt", "GtEq": "LtEq", "Eq": "Eq", "NotEq": "NotEq"}


def _conjuncts(tree: Any) -> list[Any]:
    binary = tree.get("BinaryExpr") if isinstance(tree, dict) else None
    if binary and binary["op"] == "And":
        return _conjuncts(binary["left"]) + _conjuncts(binary["right"])
    return [tree]


def _conjunct(tree: Any, schema: pa.Schema) -> "pc.Expression | None":
    import pyarrow.compute as pc

    if "BinaryExpr" in tree:
        binary = tree["BinaryExpr"]
        name, value, op = _column(binary["left"]), _literal(binary["right"]), binary["op"]
        if name is None:
            name, value, op = _column(binary["right"]), _literal(binary["left"]), _MIRROR.get(op)
        if name in schema.names and value is not None and op in _comparisons(schema.field(name).type):
            made: pc.Expression = getattr(pc.field(name), _COMPARE[op])(value)
            return made
    elif "Function" in tree:
        call = tree["Function"]
        name = _column(call["input"][0])
        test = call["function"].get("Boolean") if isinstance(call["function"], dict) else None
        if name in schema.names and test == "IsNotNull":
            return pc.field(name).is_valid()
        if name in schema.names and test == "IsNull":
            return pc.field(name).is_null()
    return None


def _comparisons(type: pa.DataType) -> set[str]:
    if pa.types.is_floating(type):
        return {"Eq", "Lt", "LtEq"}
    plain = pa.types.is_integer(type) or pa.types.is_boolean(type) or pa.types.is_string(type)
    return set(_COMPARE) if plain else set()


def _column(tree: Any) -> str | None:
    return tree.get("Column") if isinstance(tree, dict) else None


def _literal(tree: Any) -> int | float | str | bool | None:
    value = tree.get("Literal") if isinstance(tree, dict) else None
    while isinstance(value, dict) and len(value) == 1 and not {"Date", "Datetime", "Duration", "Time"} & set(value):
        value = next(iter(value.values()))
    return value if isinstance(value, int | float | str | bool) else None
