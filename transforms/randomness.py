"""Randomness that belongs to the sample: a draw is a pure function of (seed, epoch, sample id, op, index of the draw).

So a sample gets the same augmentation whatever the number of workers, threads or ranks and whatever batch it lands in.
Letters: N rows, D draws a row. The first draws do not depend on D: `uniforms(rows, op, 2)` begins `uniforms(rows, op,
5)`.
"""

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels
from forebay.transforms.transform import Rows

_philox = kernels("philox")

_MASK = (1 << 64) - 1


def key(seed: int, op: int) -> int:
    """The generator's 64-bit key for a run's seed and a transform's index in the graph.

    Both go through splitmix64 (Steele, Lea, Flood, OOPSLA 2014), so neighbouring seeds and ops share no draws.
    """
    return _mix(_mix(seed & _MASK) ^ (op & _MASK))


def uniforms(rows: Rows, op: int, n: int) -> NDArray[np.float64]:
    """(N, n) float64 in [0, 1), 53 random bits each."""
    out = np.empty((len(rows.ids), n), np.float64)
    _philox.uniforms_into(_ids(rows), np.uint64(key(rows.seed, op)), np.uint64(rows.epoch & 0xFFFFFFFF), out)
    return out


def normals(rows: Rows, op: int, n: int) -> NDArray[np.float32]:
    """(N, n) float32 from the standard normal distribution."""
    out = np.empty((len(rows.ids), n), np.float32)
    _philox.normals_into(_ids(rows), np.uint64(key(rows.seed, op)), np.uint64(rows.epoch & 0xFFFFFFFF), out)
    return out


def integers(rows: Rows, op: int, n: int, *, high: int) -> NDArray[np.int64]:
    """(N, n) int64 in [0, high), with 1 <= high <= 2^32."""
    if not 1 <= high <= 1 << 32:
        raise ValueError(f"high is {high}; expected 1 to 2^32")
    out = np.empty((len(rows.ids), n), np.int64)
    words = np.uint64(key(rows.seed, op)), np.uint64(rows.epoch & 0xFFFFFFFF)
    _philox.integers_into(_ids(rows), *words, np.uint64(high), out)
    return out


def words(rows: Rows, op: int) -> NDArray[np.uint64]:
    """(N,) uint64: one random word a sample, to key a permutation or a generator of the sample's own."""
    out = np.empty((len(rows.ids), 4), np.uint32)
    _philox.words_into(_ids(rows), np.uint64(key(rows.seed, op)), np.uint64(rows.epoch & 0xFFFFFFFF), out)
    return out[:, 0].astype(np.uint64) | (out[:, 1].astype(np.uint64) << np.uint64(32))


def _ids(rows: Rows) -> NDArray[np.uint64]:
    return np.ascontiguousarray(rows.ids, np.uint64)


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
