"""The errors that forebay raises on purpose.

ForebayError
├── SpecError            a setting, a recipe key or an argument is wrong
│   └── UnknownNameError     a name that does not exist; says the nearest that does
├── SourceError          the input cannot be found, opened or understood
│   ├── SchemaError          columns or types differ from what was expected
│   ├── CorruptError         bytes that are truncated, altered or of another format
│   └── StorageError         a store refused, timed out or ran out of space
├── DataError            a row is bad (raised under the policy `raise`, or when a budget is used up)
│   └── BadRows              raised by a transform: these rows of this batch, for this reason
├── NotFittedError       a fitted transform is used before `.fit()`
├── StateError           a saved state, output or cache belongs to something else
└── LoaderError          the loader cannot go on
    └── WorkerError          a worker died or is stuck

A message says what was found, what was expected, where, and what to do next.
"""

import difflib
from collections.abc import Iterable, Sequence


class ForebayError(Exception):
    """Root of all errors that forebay raises on purpose."""


class SpecError(ForebayError, ValueError):
    """A setting, a recipe key or an argument is wrong."""


class UnknownNameError(SpecError):
    """A name that does not exist."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], *, where: str = "") -> "UnknownNameError":
        """Build the message: what `kind` of name, where it stood, and the nearest names that exist."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        if near:  # those that are about as near as the nearest
            least = difflib.SequenceMatcher(None, near[0], name).ratio() - 0.2
            near = difflib.get_close_matches(name, near, n=3, cutoff=max(least, 0.5))
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
        return cls(f"unknown {kind} {name!r}{f' in {where}' if where else ''}; {hint}")


class SourceError(ForebayError):
    """The input cannot be found, opened or understood."""


class SchemaError(SourceError):
    """Columns or types differ from what was expected."""


class CorruptError(SourceError):
    """Bytes that are truncated, altered or of another format."""


class StorageError(SourceError, OSError):
    """A store refused, timed out or ran out of space."""


class DataError(ForebayError, ValueError):
    """A row is bad."""


class BadRows(DataError):
    """Rows of the batch in hand that a transform cannot process.

    The executor decides what happens to them: under `raise` it re-raises with the place of the first row, under
    `quarantine` and `skip` it takes them out and runs the same stage on the rest. So a transform raises this once,
    naming every bad row it can find, and never drops a row itself.

    Attributes:
        rows: positions in the batch, ascending.
        reason: one short clause, the same for all rows ("value 300 does not fit int8").
        column: the column that is bad, or "" when the row as a whole is.
    """

    def __init__(self, rows: Sequence[int], reason: str, *, column: str = "") -> None:
        self.rows = [int(row) for row in rows]
        self.reason = reason
        self.column = column
        shown = ", ".join(map(str, self.rows[:5])) + (", …" if len(self.rows) > 5 else "")
        where = f" in column {column!r}" if column else ""
        super().__init__(f"{reason}{where} ({len(self.rows)} rows of the batch: {shown})")

    def __reduce__(self) -> tuple[object, ...]:
        return (_bad_rows, (self.rows, self.reason, self.column))


def _bad_rows(rows: Sequence[int], reason: str, column: str) -> BadRows:
    return BadRows(rows, reason, column=column)


class NotFittedError(ForebayError):
    """A fitted transform is used before `.fit()`."""


class StateError(ForebayError):
    """A saved state, output or cache belongs to something else."""


class LoaderError(ForebayError, RuntimeError):
    """The loader cannot go on."""


class WorkerError(LoaderError):
    """A worker died or is stuck."""
