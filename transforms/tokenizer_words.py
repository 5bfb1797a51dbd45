"""Texts to token ids by the words in them: a byte-level tokenizer encodes each word by itself, so its ids can be remembered."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels
from forebay.transforms.letter_kinds import BASIC_PLANE, TWO_BYTES, letter_kinds
from forebay.transforms.tokenizer_calls import Encode, LibraryCalls

_words = kernels("words")

WORDS = 1 << 16
"""Words that are remembered: four megabytes when there are so many, and in use from the first to the last."""
_UNITS, _IDS = 3, 6
"""Room for a word's bytes, in units of 8, and for its ids, on average."""
_GROUP_BYTES = 256 << 10
"""Bytes of texts whose words are looked up in one go."""


def words_alone(tokenizer: Any, *, special: bool) -> bool:
    """Whether a tokenizer of the library does nothing but cut texts into the words of `kernels.words` and encode each: what it
    makes of a text is what it makes of its words, if none of its added tokens is in it. `special`: it puts special tokens around
    texts, if its file says so."""
    if tokenizer.pre_tokenizer is None or tokenizer.normalizer is not None:
        return False
    cut = json.loads(tokenizer.pre_tokenizer.__getstate__())
    plain = cut.get("type") == "ByteLevel" and cut.get("use_regex", True) and not cut.get("add_prefix_space", True)
    return plain and not (special and tokenizer.num_special_tokens_to_add(False))


def added_tokens(tokenizer: Any) -> tuple[bytes, ...]:
    """Texts that a tokenizer of the library takes out before it cuts."""
    return tuple(one.content.encode() for one in tokenizer.get_added_tokens_decoder().values())


class RememberedWords:
    """A `TextEncoder` that asks the library for words that it does not know. Any number of threads look words up while one adds
    some: what is known never changes, and an entry is found only when it is whole."""

    def __init__(self, encode: Encode, added: Sequence[bytes], *, most: int = WORDS) -> None:
        """`added`: texts that are no words wherever they stand (the tokenizer's added tokens); `most`: words that are remembered,
        a power of two."""
        self._library, self._added = LibraryCalls(encode), tuple(added)
        self._sought = os.path.commonprefix(self._added) or b""
        self._kinds: NDArray[np.uint8] | None = None
        self._memory = np.zeros(2 * most, np.int64), np.empty((most, 4), np.int32), np.empty(_UNITS * most, np.uint64)
        self._ids, self._used = np.empty(_IDS * most, np.int32), np.zeros(3, np.int64)
        self._lock = threading.Lock()

    def encode(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        lengths = np.zeros(len(starts), np.int64)
        parts: list[NDArray[np.int32]] = []
        for here in _groups(starts, stops):
            added = self._holds_added(data[int(starts[here.start]) : int(stops[here.stop - 1])])
            encode = self._library.encode if added else self._by_words
            ids, lengths[here] = encode(data, starts[here], stops[here])
            parts.append(ids)
        if len(parts) == 1:
            return parts[0], lengths
        return np.concatenate(parts) if parts else np.zeros(0, np.int32), lengths

    def _holds_added(self, data: NDArray[np.uint8]) -> bool:
        if not self._added:
            return False
        text = data.tobytes()
        return self._sought in text and any(one in text for one in self._added)

    def _by_words(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        refs, words, unknown = self._found(data, starts, stops)
        entries, lengths = self._memory[1], np.empty(len(starts), np.int64)
        offsets, new = (
            self._asked(data, refs, unknown) if len(unknown) else (np.zeros(1, np.int64), np.zeros(0, np.int32))
        )
        _words.lengths_into(refs, words, entries, offsets, lengths)
        ids = np.empty(int(lengths.sum()), np.int32)
        _words.ids_into(refs, entries, self._ids, offsets, new, ids)
        return ids, lengths

    def _found(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """(words of all texts, where each text's begin, the unknown ones), as `kernels.words.find_into` has them."""
        room = int((stops - starts).sum())
        refs, unknown = np.empty(room, np.int32), np.empty((room, 3), np.int64)
        words, made = np.empty(len(starts) + 1, np.int64), np.zeros(2, np.int64)
        if self._kinds is None:
            self._kinds = letter_kinds(TWO_BYTES)
        _words.find_into(data, starts, stops, self._kinds, *self._memory, refs, unknown, words, made)
        if made[1]:  # a larger table takes a while to make, and most texts in European languages do without
            self._kinds = letter_kinds(BASIC_PLANE)
            return self._found(data, starts, stops)
        return refs[: int(words[-1])], words, unknown[: int(made[0])]

    def _asked(
        self, data: NDArray[np.uint8], refs: NDArray[np.int32], unknown: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Ask the library for unknown words, each once: (offsets, ids) of these. `refs` then names them as -1, -2 and so on."""
        raw, seen = data.data, dict[bytes, int]()
        numbers = [seen.setdefault(bytes(raw[first:last]), len(seen)) for _, first, last in unknown.tolist()]
        refs[unknown[:, 0]] = -1 - np.array(numbers, np.int32)
        first = np.empty(len(seen), np.int64)
        first[numbers[::-1]] = np.arange(len(numbers))[::-1]  # of equal words the first one's place is written last
        starts, stops = unknown[first, 1], unknown[first, 2]
        ids, lengths = self._library.encode(data, starts, stops)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        with self._lock:
            known = int(self._used[0])
            _words.store_into(data, starts, stops, offsets, ids, *self._memory, self._ids, self._used)
            _words.publish_into(known, int(self._used[0]), *self._memory)
        return offsets, ids


def _groups(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Iterator[slice]:
    """Texts after one another that have about `_GROUP_BYTES` together, or one."""
    ends = np.cumsum(stops - starts)
    first = 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + _GROUP_BYTES, side="right")))
        yield slice(first, stop)
        first = stop
