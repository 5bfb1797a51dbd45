"""Yeo and Johnson's power transform, and the lambda of greatest likelihood (Biometrika 87, 2000)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (5.0**0.5 - 1.0) / 2.0
_FARTHEST = 1e4
"""Lambda is not sought beyond: there one value decides."""


def yeo_johnson(x: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """(N,) -> (N,), as the compiled kernel computes it."""
    exponent = np.where(x >= 0, power, 2.0 - power)
    grown = np.log1p(np.abs(x))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        powered = np.where(exponent == 0, grown, np.expm1(exponent * grown) / exponent)
    return np.where(x >= 0, powered, -powered)


def best_lambda(x: NDArray[np.float64], weight: NDArray[np.int64]) -> float:
    """The lambda that makes x, with these weights, most like a normal sample; 1 for a constant or empty column.

    The likelihood has one maximum, so golden-section search finds it; the flatness at the top limits it to about 1e-6.
    """
    if len(x) == 0 or x.min() == x.max():
        return 1.0
    total = float(weight.sum())
    jacobian = float((weight * np.sign(x) * np.log1p(np.abs(x))).sum())

    def loss(power: float) -> float:
        y = yeo_johnson(x, power)
        mean = np.average(y, weights=weight)
        variance = np.average(np.square(y - mean), weights=weight)
        found = total / 2 * np.log(variance) - (power - 1.0) * jacobian if variance > 0 else np.inf
        return float(found) if np.isfinite(found) else np.inf

    reach = 4.0
    while True:
        found = _least(loss, -reach, reach)
        if abs(found) < 0.99 * reach or reach > _FARTHEST:
            return found
        reach *= 4.0


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum is least, by golden-section search."""
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_inner, at_outer = loss(inner), loss(outer)
    while high - low > 1e-9 * max(1.0, abs(low), abs(high)):
        if at_inner <= at_outer:
            high, outer, at_outer = outer, inner, at_inner
            inner = high - _GOLDEN * (high - low)
            at_inner = loss(inner)
        else:
            low, inner, at_inner = inner, outer, at_outer
            outer = low + _GOLDEN * (high - low)
            at_outer = loss(outer)
    return (low + high) / 2
