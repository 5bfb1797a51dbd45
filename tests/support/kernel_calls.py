"""Calls of kernels that take arrays alone, with arguments of their own each time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Call:
    module: str
    kernel: str
    arguments: Callable[[], list[Any]]


def _offsets() -> Any:
    return np.array([0, 3, 3, 8, 12], np.int64)


def _pad(kind: str) -> Callable[[], list[Any]]:
    fill = np.array([9], kind)
    return lambda: [np.arange(12).astype(kind), _offsets(), fill, True, np.zeros((4, 4), kind)]


def _text() -> list[Any]:
    return [np.array([0, 2, 2, 5], np.int64), np.frombuffer(b"abcde", np.uint8), np.zeros(3, np.int64)]


_IDS = np.arange(5, 12, dtype=np.uint64) << np.uint64(32)
_KEYS = np.arange(6, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)

CALLS = [
    Call("permute", "permute_into", lambda: [np.arange(300), np.uint64(1000), _KEYS, np.zeros(300, np.int64)]),
    Call(
        "permute",
        "windows_into",
        lambda: [np.arange(300), 305, 280, 4, 64, np.uint64(2**63 + 5), _KEYS, np.zeros(300, np.int64)],
    ),
    *(
        Call("philox", kernel, lambda kind=kind: [_IDS, np.uint64(2**64 - 3), np.uint64(2), np.zeros((7, 5), kind)])
        for kernel, kind in (("uniforms_into", np.float64), ("normals_into", np.float32))
    ),
    *(Call("ragged", "pad_into", _pad(kind)) for kind in ("uint8", "uint16", "uint32", "uint64")),
    Call(
        "ragged",
        "pack_into",
        lambda: [np.arange(12), _offsets(), -100, *(np.zeros(12, one) for one in ("int64", "int64", "int32"))],
    ),
    Call("text", "hash_into", _text),
]
