"""Weighted mixtures: rows of several data sets in fixed proportions, exact, and without state."""

from collections.abc import Mapping, Sequence
from math import gcd, lcm
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa

from forebay.engine.dataset import Dataset
from forebay.engine.fingerprint import fingerprint
from forebay.formats.errors import SchemaError, SpecError

if TYPE_CHECKING:
    from forebay.engine.mix_order import MixOrder

Stop = Literal["first", "all", "never"]

_MOST_PARTS = 1 << 22
"""Most parts that weights may be of: the order holds some numbers for each."""


class Mixture:
    """Rows of several data sets in fixed proportions.

    Attributes:
        datasets: its members.
        weights: whole numbers in their proportions; of any `sum(weights)` positions one after another, starting at a multiple
            of it, exactly `weights[i]` come from member i.
        stop: "first": an epoch ends when a member has given all of its rows. "all": when each has given its rows at least
            once; smaller ones begin again, in another order. "never": it goes on.
    """

    __forebay_dataset__: ClassVar[bool] = True
    __forebay_mixture__: ClassVar[bool] = True

    def __init__(self, datasets: Sequence[Dataset], weights: Sequence[int], stop: Stop) -> None:
        self.datasets, self.weights, self.stop = tuple(datasets), tuple(weights), stop
        self._orders: dict[int, MixOrder] = {}

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the rows, the same for all members."""
        return self.datasets[0].schema

    @property
    def fingerprint(self) -> str:
        """32 hex digits for the members, their weights and how it ends."""
        return fingerprint([one.fingerprint for one in self.datasets], list(self.weights), self.stop)

    def order(self, lanes: int = 1) -> "MixOrder":
        """Which member gives the row at a position, where members are read in so many lanes."""
        if lanes not in self._orders:
            from forebay.engine.mix_order import MixOrder  # a loader knows this module, and most load one data set

            self._orders[lanes] = MixOrder(self.weights, [len(one) for one in self.datasets], lanes)
        return self._orders[lanes]

    def rows(self, lanes: int = 1) -> int | None:
        """Rows of an epoch, where members are read in so many lanes; None when it never ends."""
        if self.stop == "never":
            return None
        order = self.order(lanes)

        def enough(positions: int) -> bool:
            done = [given >= size for given, size in zip(order.given(positions), order.sizes, strict=True)]
            return any(done) if self.stop == "first" else all(done)

        low, high = 0, 1
        while not enough(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    def __len__(self) -> int:
        """Rows of an epoch in the members' own order. Where a loader reads them in lanes, its `len` and `rows` count, which may
        differ by less than one cycle of the weights."""
        rows = self.rows()
        if rows is None:
            raise TypeError("a mixture with stop='never' has no length; count steps in the training loop")
        return rows

    def __repr__(self) -> str:
        members = ", ".join(f"{one!r}: {weight}" for one, weight in zip(self.datasets, self.weights, strict=True))
        return f"<forebay.Mixture {{{members}}} stop={self.stop!r}>"


def mix(weights: Mapping[Dataset, float], *, stop: Stop = "first") -> Mixture:
    """Rows of several data sets in fixed proportions, for `forebay.DataLoader`.

    `mix({web: 0.7, code: 0.3}, stop="all")`: of ten rows seven are from `web`, exactly, wherever one begins to count at a
    multiple of ten. Each member is shuffled by itself; which member comes when is fixed, so nothing has to be saved to resume.

    Args:
        weights: data set -> weight above 0, as a decimal number; only their proportions count.
        stop: "first", "all" or "never"; see `Mixture`.

    Raises:
        SpecError: no data set, a weight that is not above 0, proportions finer than one in four million.
        SchemaError: the data sets' columns differ.
    """
    if stop not in ("first", "all", "never"):
        raise SpecError(f"mix: stop is {stop!r}; expected 'first', 'all' or 'never'")
    if not weights:
        raise SpecError("mix: no data set is given; expected such as mix({web: 0.7, code: 0.3})")
    for one in weights:
        if not isinstance(one, Dataset):
            raise SpecError(
                f"mix: got a {type(one).__name__} to draw from; expected data sets (mixtures cannot be nested)"
            )
    datasets = list(weights)
    _same_columns(datasets)
    if any(len(one) == 0 for one in datasets):
        raise SpecError("mix: a data set has no rows, so no proportion of it can be given; leave it out")
    return Mixture(datasets, _whole(list(weights.values())), stop)


def _whole(weights: Sequence[Any]) -> list[int]:
    """The smallest whole numbers in the same proportions."""
    from fractions import Fraction

    exact = []
    for one in weights:
        try:
            exact.append(Fraction(str(one)))  # of what the user wrote: 0.1 is a tenth, not the nearest double
        except ValueError as error:
            raise SpecError(f"mix: a weight is {one!r}; expected a number above 0") from error
        if exact[-1] <= 0:
            raise SpecError(f"mix: a weight is {one!r}; expected a number above 0")
    whole = [int(one * lcm(*(each.denominator for each in exact))) for one in exact]
    common = gcd(*whole)
    whole = [one // common for one in whole]
    if sum(whole) > _MOST_PARTS:
        raise SpecError(
            f"mix: the weights {list(weights)} are {sum(whole):,} parts, and proportions finer than one in {_MOST_PARTS:,} are "
            "not kept exactly; round them"
        )
    return whole


def _same_columns(datasets: Sequence[Dataset]) -> None:
    first = datasets[0].schema
    for one in datasets[1:]:
        for name in sorted(set(first.names) ^ set(one.schema.names)):
            raise SchemaError(
                f"mix: column {name!r} is in one data set and not in another ({datasets[0]!r}, {one!r}); make them the same with "
                ".select(...)"
            )
        for field in first:
            found = one.schema.field(field.name).type
            if found != field.type:
                raise SchemaError(
                    f"mix: column {field.name!r} is {field.type} in {datasets[0]!r} and {found} in {one!r}; cast one of them "
                    "(T.Cast)"
                )
