"""Count, mean, sum of squared deviations, least and greatest value of a column; mergeable."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from forebay.transforms.column_values import values


@dataclass(slots=True)
class Moments:
    """Running moments in double precision; null, NaN and infinities do not count.

    Merged by the formula of Chan, Golub and LeVeque (1983), which does not cancel as sums of squares do.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean ("M2")."""
    least: float = np.inf
    greatest: float = -np.inf

    def update(self, column: pa.Array) -> None:
        x = values(column)
        if len(x) == 0:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            mean = float(x.mean())
            squares = float(np.square(x - mean).sum())
        self.merge(Moments(len(x), mean, squares, float(x.min()), float(x.max())))

    def merge(self, later: "Moments") -> None:
        if later.count == 0:
            return
        total = self.count + later.count
        apart = later.mean - self.mean
        self.squares += later.squares + apart * apart * (self.count / total) * later.count
        self.mean += apart * (later.count / total)
        self.count = total
        self.least = min(self.least, later.least)
        self.greatest = max(self.greatest, later.greatest)

    @property
    def variance(self) -> float:
        """Population variance (divided by the count), as scikit-learn's scalers; 0 without values."""
        return self.squares / self.count if self.count else 0.0
