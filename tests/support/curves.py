"""A curve of `kernels.curves` run on an array, as the column kernel runs it on a block."""

import ctypes

import numpy as np

from forebay.transforms.kernels.curves import curve_into

_DOUBLES = ctypes.POINTER(ctypes.c_double)


def curve(x, code, parameters=()):
    table, y = np.array(parameters, np.float64), np.empty_like(x)
    pointers = [one.ctypes.data_as(_DOUBLES) for one in (x, y, table)]
    curve_into.ctypes(pointers[0], pointers[1], x.itemsize, x.size, code, pointers[2], table.size)
    return y


def units_in_the_last_place(got, wanted):
    """Distance of float32 results from float64 references, in units in the last place of the reference."""
    with np.errstate(all="ignore"):
        return np.abs(got.astype(np.float64) - wanted) / np.spacing(np.abs(wanted.astype(np.float32))).astype(
            np.float64
        )
