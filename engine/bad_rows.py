"""Bad rows: what happens to them, and how many may be."""

import threading
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from forebay.formats.errors import DataError, SpecError

OnBad = Literal["raise", "quarantine", "skip"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRowPolicy:
    """What happens to rows that a reader or a transform cannot process."""

    on_bad: OnBad = "raise"
    """"raise": stop at the first. "quarantine": set it aside with source, stage and reason. "skip": count it only."""
    budget: int | float | None = None
    """Most that may be set aside or skipped: a count (int), or a share of the rows read (float in (0, 1)). None: any
    number, said loudly in the report."""

    def __post_init__(self) -> None:
        if self.on_bad not in ("raise", "quarantine", "skip"):
            raise SpecError(f"on_bad is {self.on_bad!r}; expected 'raise', 'quarantine' or 'skip'")
        bad_rate = isinstance(self.budget, float) and not 0.0 < self.budget < 1.0
        if bad_rate or (isinstance(self.budget, int) and self.budget < 0) or isinstance(self.budget, bool):
            raise SpecError(
                f"max_bad is {self.budget!r}; expected a count such as 100, or a share of the rows such as 0.001"
            )


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that was set aside."""

    fragment: int
    row: int
    """Row in its fragment."""
    stage: str
    column: str
    reason: str
    values: str
    """The row as the stage saw it, as JSON text."""


QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("first_row_group_or_byte", pa.int64(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("values", pa.string(), nullable=False),
    ]
)
"""Columns of the quarantine file. `row` counts within the fragment, which starts at `first_row_group_or_byte` of `file`
(0 for a file that is read in one piece, so there `row` is the row of the file)."""


@dataclass(slots=True)
class BadRowBudget:
    """Counts bad rows over all threads and stops the run when there are too many."""

    policy: BadRowPolicy
    read: int = 0
    bad: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    RATE_NEEDS = 10_000
    """Rows read before a rate is judged: one bad row among the first ten is no rate. `check_end` judges whatever came."""

    def add(self, *, read: int, bad: int) -> None:
        """Take in what one fragment gave.

        Raises:
            DataError: the budget is used up.
        """
        with self._lock:
            self.read += read
            self.bad += bad
        self._check(at_end=False)

    def check_end(self) -> None:
        """Judge the whole run.

        Raises:
            DataError: the budget is used up.
        """
        self._check(at_end=True)

    def _check(self, *, at_end: bool) -> None:
        budget = self.policy.budget
        if budget is None or self.bad == 0:
            return
        if isinstance(budget, float) and not at_end and self.read < self.RATE_NEEDS:
            return
        limit = budget if isinstance(budget, int) else budget * self.read
        if self.bad > limit:
            allowed = f"{budget} rows" if isinstance(budget, int) else f"a share of {budget:g}"
            raise DataError(
                f"{self.bad} of {self.read} rows are bad, and max_bad allows {allowed}; look at the reasons in the "
                "quarantine file (or run with on_bad='quarantine' to get one), mend the input or the recipe, or raise max_bad"
            )
