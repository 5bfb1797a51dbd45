"""TargetEncode: a category becomes the mean of the target among its rows, without letting a row see its own target."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.column_names import NUMERIC, numeric, retyped, set_columns, textual, typed
from forebay.transforms.column_values import present
from forebay.transforms.fit import UNSEEN
from forebay.transforms.transform import Accumulator, Apply, Kind, Rows, State


@dataclass(frozen=True, slots=True)
class TargetEncode:
    """Replace a category by (sum of targets + smoothing * mean) / (count + smoothing), as float32.

    Cross-fitted: rows are divided into folds by a hash of their sample id, and a row is encoded by the other folds'
    targets, so it does not leak its own. A row that was not in the data (in serving) is encoded by all of them. A
    category that was not learned, and null, become the mean. The smoothing is that of scikit-learn's TargetEncoder
    with a number.
    """

    columns: tuple[str, ...]
    target: str
    """Numeric column; rows where it is null or NaN teach nothing."""
    smoothing: float = field(default=10.0, kw_only=True)
    """Rows that the overall mean counts for."""
    folds: int = field(default=5, kw_only=True)

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        set_columns(self)
        if self.target in self.columns:
            raise SpecError(f"TargetEncode: target {self.target!r} is one of the columns; expected another one")
        if self.folds < 2:
            raise SpecError(f"TargetEncode: folds is {self.folds!r}; expected 2 or more")
        if not self.smoothing >= 0:
            raise SpecError(f"TargetEncode: smoothing is {self.smoothing!r}; expected 0 or more rows")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        # the target is needed to learn only, and serving has none, but a pass reads what `reads` names
        return (*self.columns, self.target) if self.target in schema.names else self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, self.columns, _categorical, expected="text, a whole number or a boolean")
        if self.target in schema.names:
            typed(self, schema, [self.target], numeric, expected=NUMERIC)
        return retyped(schema, self.columns, lambda one: pa.float32(), filled=True)

    def accumulator(self, schema: pa.Schema) -> "TargetSums":
        typed(self, schema, [self.target], numeric, expected=NUMERIC)
        return TargetSums(self.columns, self.target, self.folds, dict(zip(schema.names, schema.types, strict=True)))

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        assert state is not None
        after = self.output_schema(schema)
        learned = {name: self._encodings(state, name, schema.field(name).type) for name in self.columns}

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            fold_N = np.where(rows.ids == UNSEEN, self.folds, fold(rows.ids, self.folds))
            made = {name: batch.column(name) for name in after.names}
            for name, (categories, mean_KF) in learned.items():
                place = pc.fill_null(pc.index_in(made[name], value_set=categories), len(categories))
                place = pc.if_else(made[name].is_valid(), place, pa.scalar(len(categories), pa.int32()))
                made[name] = pa.array(mean_KF[place.to_numpy(zero_copy_only=False), fold_N].astype(np.float32))
            return pa.RecordBatch.from_arrays(list(made.values()), schema=after)

        return apply

    def _encodings(self, state: State, name: str, type: pa.DataType) -> tuple[pa.Array, NDArray[np.float64]]:
        """(categories, (K + 1, folds + 1) means: for each fold those of the others, last those of all; last row:
        unknown)."""
        categories = state[f"categories {name}"].cast(type)
        shape = (len(categories), self.folds)
        count_KF = np.asarray(state[f"counts {name}"].to_numpy(zero_copy_only=False), np.float64).reshape(shape)
        sum_KF = np.asarray(state[f"sums {name}"].to_numpy(zero_copy_only=False), np.float64).reshape(shape)
        whole = [np.array(state["count"], np.float64), np.array(state["sum"], np.float64)]
        with np.errstate(invalid="ignore", divide="ignore"):
            prior_F = np.append(whole[1].sum() - whole[1], whole[1].sum())
            prior_F /= np.append(whole[0].sum() - whole[0], whole[0].sum())
            prior_F = np.nan_to_num(prior_F)
            count = np.column_stack([count_KF.sum(1, keepdims=True) - count_KF, count_KF.sum(1)])
            total = np.column_stack([sum_KF.sum(1, keepdims=True) - sum_KF, sum_KF.sum(1)])
            mean = (total + self.smoothing * prior_F) / (count + self.smoothing)
        mean = np.where(count + self.smoothing > 0, mean, prior_F)
        return categories, np.vstack([mean, prior_F[None]])


def fold(ids: NDArray[np.uint64], folds: int) -> NDArray[np.int64]:
    """(N,) fold of each sample, from a hash of its id: the same on any run, whatever the order or the split."""
    h = (ids ^ (ids >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((h ^ (h >> np.uint64(31))) % np.uint64(folds)).astype(np.int64)


@dataclass(slots=True)
class TargetSums:
    """Count and sum of the target for each category and fold. Sums are made in row order, so they do not depend on
    threads."""

    columns: tuple[str, ...]
    target: str
    folds: int
    types: dict[str, pa.DataType]
    found: dict[str, dict[Any, NDArray[np.float64]]] = field(default_factory=dict)
    """Column -> category -> (2, folds): counts, sums."""
    whole: NDArray[np.float64] | None = None

    def update(self, batch: pa.RecordBatch, rows: Rows) -> None:
        use = present(batch.column(self.target))
        target = np.asarray(batch.column(self.target).filter(pa.array(use)).to_numpy(zero_copy_only=False), np.float64)
        fold_N = fold(rows.ids[use], self.folds)
        self._add_whole(_both(fold_N, target, self.folds)[0])
        for name in self.columns:
            coded = batch.column(name).filter(pa.array(use)).dictionary_encode()
            valid = np.asarray(coded.is_valid().to_numpy(zero_copy_only=False), np.bool_)
            codes = np.asarray(coded.indices.fill_null(0).to_numpy(zero_copy_only=False), np.int64)[valid]
            sums = _both(codes * self.folds + fold_N[valid], target[valid], self.folds, len(coded.dictionary))
            self._add(name, dict(zip((one.as_py() for one in coded.dictionary), sums, strict=True)))

    def merge(self, later: Accumulator) -> None:
        assert isinstance(later, TargetSums)
        if later.whole is not None:
            self._add_whole(later.whole)
        for name, sums in later.found.items():
            self._add(name, sums)

    def finish(self) -> State:
        whole = np.zeros((2, self.folds)) if self.whole is None else self.whole
        state: dict[str, Any] = {"count": whole[0].tolist(), "sum": whole[1].tolist()}
        for name in self.columns:
            sums = self.found.get(name, {})
            ordered = sorted(sums)
            state[f"categories {name}"] = pa.array(ordered, self.types[name])
            table = np.array([sums[one] for one in ordered]).reshape(len(ordered), 2, self.folds)
            state[f"counts {name}"] = pa.array(table[:, 0].reshape(-1))
            state[f"sums {name}"] = pa.array(table[:, 1].reshape(-1))
        return state

    def _add(self, name: str, sums: dict[Any, NDArray[np.float64]]) -> None:
        into = self.found.setdefault(name, {})
        for category, one in sums.items():
            into[category] = into[category] + one if category in into else one

    def _add_whole(self, sums: NDArray[np.float64]) -> None:
        self.whole = sums if self.whole is None else self.whole + sums


def _both(key: NDArray[np.int64], target: NDArray[np.float64], folds: int, rows: int = 1) -> NDArray[np.float64]:
    """(rows, 2, folds): counts and sums of the target for keys row * folds + fold."""
    count = np.bincount(key, minlength=rows * folds).astype(np.float64)
    total = np.bincount(key, weights=target, minlength=rows * folds)
    return np.stack([count.reshape(rows, folds), total.reshape(rows, folds)], 1)


def _categorical(type: pa.DataType) -> bool:
    return textual(type) or pa.types.is_integer(type) or pa.types.is_boolean(type)
