"""Run a batch through stages, keep count of what leaves where, and take bad rows out one by one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.engine.bad_rows import BadRow, OnBad
from forebay.engine.plan import OpaqueStage
from forebay.engine.stage import FilterStage
from forebay.formats.errors import BadRows, DataError, ForebayError
from forebay.formats.schemas import no_rows
from forebay.transforms.stage import Stage
from forebay.transforms.transform import Rows

ROW_BITS = 32
"""A sample id is `fragment ordinal << ROW_BITS | row in fragment`."""


def sample_ids(fragment: int, start: int, count: int) -> NDArray[np.uint64]:
    """Ids of rows `start` to `start + count` of a fragment."""
    first = (fragment << ROW_BITS) + start
    return np.arange(first, first + count, dtype=np.uint64)


@dataclass(slots=True)
class Tally:
    """What happened to the rows."""

    read: int = 0
    written: int = 0
    filtered: dict[str, int] = field(default_factory=dict)
    """Filter -> rows it took out."""
    bad: list[BadRow] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.read += other.read
        self.written += other.written
        for label, count in other.filtered.items():
            self.filtered[label] = self.filtered.get(label, 0) + count
        self.bad.extend(other.bad)


def run_stages(
    stages: Sequence[Stage],
    batch: pa.RecordBatch,
    rows: Rows,
    *,
    on_bad: OnBad,
    tally: Tally,
    file: str | Callable[[int], str] = "",
) -> tuple[pa.RecordBatch, Rows]:
    """`batch` after all `stages`, and the rows that are left.

    Args:
        stages: bound stages, in order.
        batch: rows of the plan's source schema.
        rows: their ids.
        on_bad: with "raise" the first bad row ends the run; otherwise bad rows are noted in `tally.bad` and taken out, and
            the stage runs again on the rest.
        tally: what happens is added here.
        file: where the rows come from, for messages; or the function that tells it of a fragment.

    Raises:
        DataError: a bad row under "raise": file, row, stage, column, reason.
    """
    for stage in stages:
        if batch.num_rows == 0:
            # nothing is left, but the columns must still become the stage's
            batch = no_rows(stage.schema)
            continue
        if isinstance(stage, FilterStage):
            batch, rows = _filter(stage, batch, rows, tally)
        elif isinstance(stage, OpaqueStage):
            batch, rows = _run_opaque(stage, batch, rows, _Place(on_bad, tally, file))
        else:
            batch, rows = _run(stage, batch, rows, _Place(on_bad, tally, file))
    return batch, rows


@dataclass(frozen=True, slots=True)
class _Place:
    on_bad: OnBad
    tally: Tally
    file: str | Callable[[int], str]


def _filter(stage: FilterStage, batch: pa.RecordBatch, rows: Rows, tally: Tally) -> tuple[pa.RecordBatch, Rows]:
    keep = stage.keep(batch, rows)
    gone = len(keep) - int(np.count_nonzero(keep))
    tally.filtered[stage.label] = tally.filtered.get(stage.label, 0) + gone
    return (batch, rows) if gone == 0 else _take(batch, rows, keep)


def _run(stage: Stage, batch: pa.RecordBatch, rows: Rows, place: _Place) -> tuple[pa.RecordBatch, Rows]:
    # A stage names every bad row it can see, but taking those out may uncover others behind them (another transform of the
    # same stage), so it runs until it passes; each turn takes out at least one row.
    while True:
        try:
            return stage.run(batch, rows), rows
        except BadRows as error:
            batch, rows = _set_aside(stage, batch, rows, error, place)
            if batch.num_rows == 0:
                return no_rows(stage.schema), rows


def _run_opaque(stage: OpaqueStage, batch: pa.RecordBatch, rows: Rows, place: _Place) -> tuple[pa.RecordBatch, Rows]:
    """A user's function fails for a whole batch: halve it until the rows that make it fail stand alone."""
    good: list[tuple[pa.RecordBatch, Rows]] = []

    def attempt(part: pa.RecordBatch, part_rows: Rows) -> None:
        try:
            good.append((stage.run(part, part_rows), part_rows))
        except BadRows as error:
            rest, rest_rows = _set_aside(stage, part, part_rows, error, place)
            if rest.num_rows:
                attempt(rest, rest_rows)
        except ForebayError:
            raise  # the function broke its contract (columns, row count): no single row is to blame
        except Exception as error:  # noqa: BLE001  # the user's own function may raise anything
            half = part.num_rows // 2
            if half and place.on_bad != "raise":
                attempt(part.slice(0, half), _rows_at(part_rows, slice(0, half)))
                attempt(part.slice(half), _rows_at(part_rows, slice(half, None)))
                return
            blame = (
                list(range(part.num_rows))[:1]
                if place.on_bad != "raise"
                else _first_failing(stage.run, part, part_rows)
            )
            reason = f"{type(error).__name__}: {error}"
            _set_aside(stage, part, part_rows, BadRows(blame, reason), place, cause=error)

    attempt(batch, rows)
    if not good:
        return no_rows(stage.schema), _rows_at(rows, slice(0, 0))
    table = pa.Table.from_batches([part for part, _ in good], schema=stage.schema)
    ids = np.concatenate([part_rows.ids for _, part_rows in good])
    merged = table.combine_chunks().to_batches()
    return (merged[0] if merged else no_rows(stage.schema)), Rows(ids, rows.seed, rows.epoch)


def _first_failing(run: Callable[[pa.RecordBatch, Rows], Any], batch: pa.RecordBatch, rows: Rows) -> list[int]:
    """Position of the first row that fails by itself, for the message; [0] if none does alone."""
    for at in range(batch.num_rows):
        try:
            run(batch.slice(at, 1), _rows_at(rows, slice(at, at + 1)))
        except Exception:  # noqa: BLE001  # only where it fails is asked
            return [at]
    return [0]


def _set_aside(
    stage: Stage,
    batch: pa.RecordBatch,
    rows: Rows,
    error: BadRows,
    place: _Place,
    *,
    cause: Exception | None = None,
) -> tuple[pa.RecordBatch, Rows]:
    if place.on_bad == "raise":
        fragment, row = split_id(int(rows.ids[error.rows[0]]))
        more = f" (and {len(error.rows) - 1} more rows of this batch)" if len(error.rows) > 1 else ""
        column = f", column {error.column!r}" if error.column else ""
        file = place.file if isinstance(place.file, str) else place.file(fragment)
        raise DataError(
            f"{file or 'row'}: fragment {fragment}, row {row}, stage {stage.label}{column}: {error.reason}{more}; "
            "mend the row, or set it aside with on_bad='quarantine'"
        ) from (cause or error)
    bad = np.asarray(error.rows, dtype=np.int64)
    values = batch.take(pa.array(bad)).to_pylist()
    for at, value in zip(bad, values, strict=True):
        fragment, row = split_id(int(rows.ids[at]))
        text = json.dumps(value, default=_plain, ensure_ascii=False)
        place.tally.bad.append(BadRow(fragment, row, stage.label, error.column, error.reason, text))
    keep = np.ones(batch.num_rows, np.bool_)
    keep[bad] = False
    return _take(batch, rows, keep)


def split_id(sample: int) -> tuple[int, int]:
    """(fragment ordinal, row in fragment) of a sample id."""
    return sample >> ROW_BITS, sample & ((1 << ROW_BITS) - 1)


def _take(batch: pa.RecordBatch, rows: Rows, keep: NDArray[np.bool_]) -> tuple[pa.RecordBatch, Rows]:
    return batch.filter(pa.array(keep)), Rows(rows.ids[keep], rows.seed, rows.epoch)


def _rows_at(rows: Rows, at: slice) -> Rows:
    return Rows(rows.ids[at], rows.seed, rows.epoch)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:64].hex() + ("…" if len(value) > 64 else "")
    return str(value)
