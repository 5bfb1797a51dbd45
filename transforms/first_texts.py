"""The texts of the first batch, which all threads that come by encode together: whoever waits for it waits for nothing else.

Later batches are encoded by one thread each, side by side, which takes less handing over.
"""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.tokenizer_calls import Encode, TextEncoder, blocks, ids_of

MOST_ROWS = 1024
"""Longest batch that is shared out: a trainer's. Others are not waited for, and their texts would take memory."""
_AT_ONCE = 8
"""Texts of a block."""

Block = tuple[int, list[str]]
"""(row of the first, texts)."""


class FirstTexts:
    """Shares out the texts of the first call. Thread-safe."""

    def __init__(self, encode: Encode) -> None:
        self._encode, self._lock, self._done = encode, threading.Lock(), threading.Event()
        self._begun = False
        self._blocks = 0
        self._left: deque[Block] = deque()
        self._made: dict[int, Any] = {}

    def is_first(self, rows: int) -> bool:
        """Whether this is the first call, and of few rows: then `run` is called for it, and `help` for all others."""
        with self._lock:
            first, self._begun = not self._begun, True
        return first and rows <= MOST_ROWS

    def run(self, blocks: Sequence[Block]) -> list[tuple[int, Any]]:
        """(row of the first, what `encode` gives for the texts) of each block, in order. Raises what `encode` raises."""
        self._blocks = len(blocks)
        self._left.extend(blocks)
        self.help()
        if blocks:
            self._done.wait()
        made, self._made = self._made, {}
        for one in made.values():
            if isinstance(one, BaseException):
                raise one
        return [(first, made[first]) for first, _ in blocks]

    def help(self) -> None:
        """Encode what is left of the first call, if it is under way."""
        while True:
            try:
                first, texts = self._left.popleft()
            except IndexError:
                return
            made: Any
            try:
                made = self._encode(texts)
            except BaseException as error:  # noqa: BLE001 - it is raised where the batch is waited for
                made = error
            with self._lock:
                self._made[first] = made
                if len(self._made) == self._blocks:
                    self._done.set()


class FirstTogether:
    """A `TextEncoder` whose first call asks the library for whole texts, in all threads that come by; later calls go to another
    one. To ask for the words of the first texts one by one, and remember them, takes longer than the texts do."""

    def __init__(self, encode: Encode, then: TextEncoder) -> None:
        self._first, self._then = FirstTexts(encode), then

    def encode(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        if self._first.is_first(len(starts)):
            return ids_of(self._first.run(list(blocks(data, starts, stops, at_once=_AT_ONCE))), len(starts))
        self._first.help()
        return self._then.encode(data, starts, stops)
