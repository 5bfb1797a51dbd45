"""What `bench.kernels` measures: each kernel beside what a user would write with numpy, scikit-learn or Arrow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from forebay import transforms as T
from forebay.transforms.fuse_columns import fuse
from forebay.transforms.fuse_tokens import fuse as fuse_tokens
from forebay.transforms.transform import Rows


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    kind: str
    """"move": promised 3 times the reference and 70 % of the memory's bandwidth. "compute": 3 times the reference."""
    ours: Callable[[], Any]
    reference: Callable[[], Any]
    reference_name: str
    rows: int
    nbytes: int
    """Read and written by one run, at the least."""


def cases(rows: int) -> list[Case]:
    """All cases over columns of so many rows."""
    rng = np.random.default_rng(0)
    plain = _room((rows,), np.dtype(np.float32))
    plain[:] = rng.gamma(2.0, 3.0, rows)
    holed = pa.array(plain, mask=rng.random(rows) < 0.1)
    wide = _room((rows,), np.dtype(np.int64))
    wide[:] = rng.integers(0, 1 << 31, rows)
    text = pa.array(np.array(["AA", "UA", "DL", "WN", "B6", "AS", "NK", "F9"])[rng.integers(0, 8, rows // 8)])
    column = plain[:, None]
    one = {"mean": [6.0], "std": [4.25]}
    knots = np.quantile(plain, np.linspace(0, 1, 1000)).tolist()
    edges = tuple(np.linspace(1, 20, 20).tolist())
    out = _room((rows,), np.dtype(np.float32))  # there already, as a slot of ours is
    span, power = {"min": [0.0], "max": [60.0]}, {"lambda": [0.3], "mean": [0.0], "std": [1.0]}
    ranks = {"knots": [knots]}
    unscaled = T.PowerTransform(["x"], standardize=False)

    clip = _case(
        "ClipOutliers float32", "move", [T.ClipOutliers(["x"], bounds=(1, 9))], plain, lambda: np.clip(plain, 1, 9)
    )
    cast = _case("Cast int64 to float32", "move", [T.Cast(["x"], "float32")], wide, lambda: wide.astype(np.float32))
    log = _case("Log1p float32", "compute", [T.Log1p(["x"])], plain, lambda: np.log1p(plain))
    made = [
        _case("FillNull float32, 10 % null", "move", [T.FillNull(["x"], value=0.5)], holed, lambda: holed.fill_null(0.5)),
        clip,
        _into(clip, lambda: np.clip(plain, 1, 9, out=out)),
        _case("Standardize float32", "move", [T.Standardize(["x"])], plain, _standard(column), states=[one]),
        _case("Standardize int64", "move", [T.Standardize(["x"])], wide, _standard(wide[:, None]), states=[one]),
        _case("MinMaxScale float32", "move", [T.MinMaxScale(["x"])], plain, _min_max(column), states=[span]),
        cast,
        _into(cast, lambda: np.copyto(out, wide, "unsafe")),
        _case("Modulo int64", "move", [T.Modulo(["x"], 100_000)], wide, lambda: wide % 100_000),
        _case("HashCategory int64", "move", [T.HashCategory(["x"], 100_000)], wide, lambda: _hash(wide, 100_000)),
        _case("Categorize text", "compute", [T.Categorize(["x"])], text, _ordinal(text), states=[_vocabulary(text)]),
        log,
        _into(log, lambda: np.log1p(plain, out=out)),
        _case("PowerTransform float32", "compute", [unscaled], plain, _power(column), states=[power]),
        _case("QuantileTransform float32", "compute", [T.QuantileTransform(["x"])], plain, _quantile(column), states=[ranks]),
        _case("Bucketize float32", "compute", [T.Bucketize(["x"], edges)], plain, lambda: np.digitize(plain, edges)),
    ]  # fmt: skip
    return [*made, *_chains(holed, one), _tokens(rows)]


def _case(
    name: str,
    kind: str,
    chain: Sequence[Any],
    column: Any,
    reference: Callable[[], Any],
    *,
    states: Sequence[Any] | None = None,
) -> Case:
    array = column if isinstance(column, pa.Array) else pa.array(column)
    ours, written = _runner(chain, array, states or [None] * len(chain))
    by = "scikit-learn" if "sklearn" in (reference.__doc__ or "") else "numpy" if name[:4] != "Fill" else "pyarrow"
    return Case(name, kind, ours, reference, by, len(array), array.nbytes + written)


def _into(case: Case, reference: Callable[[], Any]) -> Case:
    """The same against a reference that is given an array to write to, as ours is given a slot."""
    return replace(case, reference=reference, reference_name="numpy, out=")


def _runner(chain: Sequence[Any], column: pa.Array, states: Sequence[Any]) -> tuple[Callable[[], None], int]:
    batch = pa.RecordBatch.from_arrays([column], ["x"])
    stage: Any = fuse(chain, batch.schema, states, range(len(chain)))
    rows = Rows(np.zeros(0, np.uint64))
    out = {name: _room((len(column),), spec.dtype) for name, spec in stage.tensors().items()}
    return lambda: stage.run_into(batch, rows, None, out), sum(one.nbytes for one in out.values())


def _chains(holed: pa.Array, state: Any) -> list[Case]:
    """Fill, clip, log1p, standardize: fused against one by one, and against numpy."""
    chain = [T.FillNull(["x"], value=0.5), T.ClipOutliers(["x"], bounds=(0, 30)), T.Log1p(["x"]), T.Standardize(["x"])]
    states = [None, None, None, state]
    fused, written = _runner(chain, holed, states)
    batch = pa.RecordBatch.from_arrays([holed], ["x"])
    rows = Rows(np.zeros(0, np.uint64))
    schemas = [batch.schema]
    for one in chain:
        schemas.append(one.output_schema(schemas[-1]))
    bound = [one.bind(schemas[at], states[at], at) for at, one in enumerate(chain)]

    def one_by_one() -> Any:
        made: Any = batch
        for apply in bound:
            made = apply(made, rows)
        return made

    mean, std = np.float32(state["mean"][0]), np.float32(state["std"][0])

    def numpy() -> Any:
        x = holed.fill_null(0.5).to_numpy()
        return (np.log1p(np.clip(x, 0, 30)) - mean) / std

    nbytes = holed.nbytes + written
    name = "chain of 4: fill, clip, log1p, standardize"
    return [
        Case(name, "compute", fused, one_by_one, "forebay, unfused", len(holed), nbytes),
        Case(name, "compute", fused, numpy, "numpy", len(holed), nbytes),
    ]


def _tokens(rows: int) -> Case:
    length, n = 2049, max(rows // 2049, 16)
    values = np.random.default_rng(1).integers(0, 50_000, n * length).astype(np.uint16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values), length)
    batch = pa.RecordBatch.from_arrays([column], ["tokens"])
    stage: Any = fuse_tokens([T.ShiftTokens("tokens")], batch.schema, [None], [0])
    take = np.random.default_rng(2).permutation(n)
    table = values.reshape(n, length)
    out = {name: _room((len(take), length - 1), np.dtype(np.int64)) for name in stage.tensors()}
    rows_ = Rows(np.zeros(0, np.uint64))

    def numpy() -> Any:
        taken = table[take].astype(np.int64)
        return taken[:, :-1].copy(), taken[:, 1:].copy()

    nbytes = len(take) * length * (2 + 16)
    ours = lambda: stage.run_into(batch, rows_, take, out)  # noqa: E731
    return Case("ShiftTokens, shuffled rows of 2,048", "move", ours, numpy, "numpy", len(take), nbytes)


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Zeros that begin at a cache line, as Arrow's buffers and the columns of a slot do."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.zeros(size + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + size].view(dtype).reshape(shape)


def _standard(column: Any) -> Callable[[], Any]:
    from sklearn.preprocessing import StandardScaler

    return _sklearn(StandardScaler().fit(column[:1000]), column)


def _min_max(column: Any) -> Callable[[], Any]:
    from sklearn.preprocessing import MinMaxScaler

    return _sklearn(MinMaxScaler().fit(column[:1000]), column)


def _power(column: Any) -> Callable[[], Any]:
    from sklearn.preprocessing import PowerTransformer

    return _sklearn(PowerTransformer(standardize=False).fit(column[:1000]), column)


def _quantile(column: Any) -> Callable[[], Any]:
    from sklearn.preprocessing import QuantileTransformer

    return _sklearn(QuantileTransformer(subsample=None).fit(column[:100_000]), column)


def _ordinal(text: pa.Array) -> Callable[[], Any]:
    from sklearn.preprocessing import OrdinalEncoder

    column = text.to_numpy(zero_copy_only=False)[:, None]
    return _sklearn(OrdinalEncoder().fit(column), column)


def _sklearn(fitted: Any, column: Any) -> Callable[[], Any]:
    def run() -> Any:
        """sklearn"""
        return fitted.transform(column)

    return run


def _vocabulary(text: pa.Array) -> dict[str, Any]:
    return {"vocabulary x": text.unique()}


def _hash(x: Any, buckets: int) -> Any:
    h = x.view(np.uint64)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h = h ^ (h >> np.uint64(31))
    return (((h >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32)).astype(np.int64)
