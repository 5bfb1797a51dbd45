"""Compilation of the user's own kernels."""

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.registry import CPUDispatcher


def compiled(function: Callable[..., None]) -> Any:
    """The function compiled by Numba on its first use for each set of types, without the interpreter's lock."""
    if isinstance(function, CPUDispatcher):
        return function
    return njit(nogil=True, error_model="numpy")(function)
