"""What the user asks of `Dataset.write` and `forebay prep`."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from forebay.engine.bad_rows import BadRowPolicy, OnBad
from forebay.engine.memory import parse_bytes
from forebay.formats.errors import SpecError, UnknownNameError

ShardFormat = Literal["parquet", "arrow"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteOptions:
    """How the output is cut, how bad rows are treated, and what the run may use."""

    format: ShardFormat = "parquet"
    """"parquet" (smaller, streamed) or "arrow" (memory-mapped: any row at any time, for global shuffle)."""
    max_rows: int | None = None
    """Most rows in a shard; None leaves it to `max_bytes`."""
    max_bytes: int | str = "256MB"
    """Size at which a shard is closed, as estimated from the rows in memory."""
    unit_bytes: int | str | None = None
    """Input bytes of a work unit: what one thread takes at a time, and what a killed run redoes. Each unit writes shards
    of its own, so a small value gives many small shards. None: a sixteenth of the input, but 8 to 64 MB."""
    on_bad: OnBad = "quarantine"
    """See `BadRowPolicy`."""
    max_bad: int | float | None = None
    """See `BadRowPolicy.budget`."""
    memory: int | str | None = None
    """Resident bytes the run may hold ("2GB"); None: no limit."""
    threads: int | None = None
    """Units at a time; None: as many as there are processors. The output does not depend on it."""
    overwrite: bool = False
    """Throw away what is in the output directory if it is another run's."""
    policy: BadRowPolicy = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.format not in ("parquet", "arrow"):
            raise SpecError(f"format is {self.format!r}; shards are written as 'parquet' or 'arrow'")
        for name in ("max_rows", "threads"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise SpecError(f"{name} is {value!r}; expected a whole number of at least 1")
        for name in ("max_bytes", "unit_bytes", "memory"):
            size = parse_bytes(getattr(self, name))
            if size is not None and size < 1:
                raise SpecError(f"{name} is {getattr(self, name)!r}; expected at least one byte")
            object.__setattr__(self, name, size)
        object.__setattr__(self, "policy", BadRowPolicy(on_bad=self.on_bad, budget=self.max_bad))

    def shaping(self) -> dict[str, Any]:
        """The part that the bytes of the output depend on; the rest (threads, memory) does not change them."""
        return {name: getattr(self, name) for name in ("format", "max_rows", "max_bytes", "unit_bytes", "on_bad")}


def write_options(**given: Any) -> WriteOptions:
    """`WriteOptions(**given)`, with the nearest name for one that does not exist.

    Raises:
        UnknownNameError: an option that does not exist.
    """
    known = [one.name for one in fields(WriteOptions) if one.init]
    for name in given:
        if name not in known:
            raise UnknownNameError.of("option", name, known, where="write")
    return WriteOptions(**given)
