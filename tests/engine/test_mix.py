"""Mixtures: weights, ends of epochs, and what cannot be mixed. (Their order: test_mix_order.py.)"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forebay as fb
from forebay import transforms as T
from forebay.engine.mix import Mixture
from forebay.formats.errors import SchemaError, SpecError

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=5)


class Sized:
    """As much of a data set as the arithmetic asks for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows


def mixture(sizes: list[int], weights: list[int], stop: str = "first") -> Mixture:
    return Mixture([Sized(size) for size in sizes], weights, stop)  # type: ignore[arg-type, list-item]


@given(st.data(), WEIGHTS, st.sampled_from(["first", "all"]))
def test_an_epoch_ends_with_the_last_row_of_the_first_or_of_all(
    data: st.DataObject, weights: list[int], stop: str
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 60), min_size=len(weights), max_size=len(weights)))
    one, lanes = mixture(sizes, weights, stop), data.draw(st.sampled_from([1, 4, 8]))
    rows, enough = one.rows(lanes), any if stop == "first" else all
    assert rows is not None and len(one) == one.rows()
    given_by = one.order(lanes).given
    assert enough(given >= size for given, size in zip(given_by(rows), sizes, strict=True))
    assert not enough(given >= size for given, size in zip(given_by(rows - 1), sizes, strict=True))


def test_without_end_there_is_no_length() -> None:
    with pytest.raises(TypeError, match="stop='never' has no length"):
        len(mixture([1, 2], [1, 1], "never"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[fb.Dataset, fb.Dataset]:
    base = tmp_path_factory.mktemp("mix")
    for name, rows in (("a", 100), ("b", 40)):
        pq.write_table(pa.table({"row": np.arange(rows), "x": np.zeros(rows, np.float32)}), base / f"{name}.parquet")
    return fb.scan(str(base / "a.parquet")), fb.scan(str(base / "b.parquet"))


def test_weights_are_taken_as_written(pair: tuple[fb.Dataset, fb.Dataset]) -> None:
    a, b = pair
    assert fb.mix({a: 0.7, b: 0.3}).weights == (7, 3)
    assert fb.mix({a: 0.1, b: 0.2}).weights == (1, 2)
    assert fb.mix({a: 2, b: 4}).weights == (1, 2)
    assert "7" in repr(fb.mix({a: 0.7, b: 0.3})) and "stop='first'" in repr(fb.mix({a: 0.7, b: 0.3}))


def test_what_cannot_be_mixed_is_said(pair: tuple[fb.Dataset, fb.Dataset], tmp_path: Path) -> None:
    a, b = pair
    with pytest.raises(SpecError, match="stop is 'last'; expected 'first', 'all' or 'never'"):
        fb.mix({a: 1}, stop="last")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="no data set is given"):
        fb.mix({})
    with pytest.raises(SpecError, match="a weight is 0; expected a number above 0"):
        fb.mix({a: 1, b: 0})
    with pytest.raises(SpecError, match="a weight is 'much'"):
        fb.mix({a: 1, b: "much"})  # type: ignore[dict-item]
    with pytest.raises(SpecError, match="finer than one in 4,194,304"):
        fb.mix({a: 1, b: 1e-9})
    with pytest.raises(SpecError, match="got a Mixture to draw from.*cannot be nested"):
        fb.mix({fb.mix({a: 1}): 1})  # type: ignore[dict-item]
    with pytest.raises(SpecError, match="a data set has no rows"):
        fb.mix({a: 1, b.filter("row > 1000"): 1})
    with pytest.raises(SchemaError, match="column 'x' is in one data set and not in another"):
        fb.mix({a: 1, b.select("row"): 1})
    with pytest.raises(SchemaError, match="column 'row' is int64 in .* and float .*T.Cast"):
        fb.mix({a: 1, b.apply(T.Cast(["row"], "float32")): 1})
