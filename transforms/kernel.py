"""`kernel`: the user's own compiled function of columns, run on the rows as our kernels are, without Python in between."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from forebay.formats.errors import SpecError
from forebay.transforms.column_chain import STORED
from forebay.transforms.column_names import NUMERIC, numeric, typed
from forebay.transforms.kernel_stage import KernelStage
from forebay.transforms.transform import Apply, Kind, State


@dataclass(frozen=True, slots=True)
class Kernel:
    """Call `function(*columns, *outputs)`, compiled by Numba, on numpy arrays: it fills the outputs and returns nothing.

    What `@kernel` makes. Null becomes NaN in floating columns; an integer column with null is refused row by row (fill it
    first). Outputs replace columns of their name and are added otherwise.
    """

    function: str
    """Where it is found again in another process: "package.module:name"."""
    columns: tuple[str, ...] = field(kw_only=True)
    """Columns it reads, in the order of its parameters."""
    outputs: tuple[tuple[str, str], ...] = field(kw_only=True)
    """(name, type such as "float32") of the columns it writes, in the order of its last parameters."""
    version: str = field(kw_only=True)
    """Yours to raise when the function changes: all that caches and resumed outputs know of its body."""
    callable: Callable[..., None] | None = field(default=None, kw_only=True, repr=False, compare=False)

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "columns"
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        given: Any = self.outputs
        pairs = tuple((name, kind) for name, kind in (given.items() if isinstance(given, Mapping) else given))
        object.__setattr__(self, "outputs", pairs)
        object.__setattr__(self, "columns", tuple(self.columns))
        if not self.columns or not pairs or not self.version:
            raise SpecError(f"kernel {self.function}: expected columns, outputs and a version, such as version='1'")
        for name, kind in pairs:
            if not any(str(one) == _arrow_name(kind) for one in STORED):
                raise SpecError(f"kernel {self.function}: output {name!r} is {kind!r}; expected {NUMERIC}")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, numeric, expected=NUMERIC)
        for name, kind in self.outputs:
            made = pa.field(name, pa.type_for_alias(kind), nullable=False)
            at = schema.get_field_index(name)
            schema = schema.append(made) if at < 0 else schema.set(at, made)
        return schema

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return self.stage(schema).run

    def stage(self, schema: pa.Schema) -> KernelStage:
        """The bound function as a stage that can write into a training batch."""
        made = tuple(name for name, _ in self.outputs)
        return KernelStage(self.compiled(), schema, self.output_schema(schema), reads=self.columns, outputs=made)

    def compiled(self) -> Callable[..., None]:
        """The function, found by its name where it was not given."""
        found: Any = self.callable
        if found is None:
            module, _, name = self.function.partition(":")
            try:
                found = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                raise SpecError(f"kernel {self.function!r} cannot be imported: {error}") from error
        return found.callable if isinstance(found, Kernel) and found.callable else found


def kernel(
    *, columns: list[str] | tuple[str, ...], outputs: Mapping[str, str], version: str
) -> Callable[[Callable[..., None]], Kernel]:
    """Decorator: a function of numpy columns that Numba can compile becomes a transform.

    Example:
        @fb.kernel(columns=["dep_delay", "distance"], outputs={"ratio": "float32"}, version="1")
        def ratio(dep_delay, distance, out):
            for i in range(len(out)):
                out[i] = dep_delay[i] / (1.0 + distance[i])

    It is compiled once a type of its columns, without the interpreter's lock; a function that is already compiled by
    `numba.njit` is taken as it is. A name at the top level of a module lets other processes find it.
    """

    def make(function: Callable[..., None]) -> Kernel:
        from forebay.transforms.kernels.user import compiled

        name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
        made = compiled(function)
        return Kernel(name, columns=tuple(columns), outputs=tuple(outputs.items()), version=version, callable=made)

    return make


def _arrow_name(kind: str) -> str:
    return {"float32": "float", "float64": "double"}.get(kind, kind)
