"""Texts to token ids by the words in them, of which the ids are remembered.

A byte-level tokenizer cuts a text into words and encodes each by itself. The words are the matches of

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

one behind another, so that every byte is in one (source: OpenAI, gpt-2, src/encoder.py). The memory of words: a slot holds
31 bits of a hash and the number of a word, from 1 (0: empty), at the place that the hash says or the next free one; an entry says
where the word's bytes and ids are. Bytes are compared, so a hash never decides.

Letters: N texts, B bytes, P code points, W words of the texts, M unknown ones, S slots (a power of two), E entries, U units of 8
bytes, V remembered ids, T tokens.
"""

import numpy as np
from numba import njit, types

LETTER, NUMBER, SPACE, OTHER, ODD, BEYOND = range(6)
"""Kinds of characters. ODD: of which it is not known what the tokenizer takes it for; BEYOND: not in the table."""
LONGEST = 64
"""Bytes of a word that is remembered."""
START, SIZE, FIRST_ID, IDS = range(4)
"""Fields of an entry: first unit and number of bytes, first id and number of ids."""

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_M = np.uint64(0x9E3779B97F4A7C15)
_K = np.uint64(0xBF58476D1CE4E5B9)
_L = np.uint64(0x94D049BB133111EB)
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


@njit(inline="always")
def _kind(byte_B, at, stop, kind_P):
    """8 times the kind of the character at `at`, plus its bytes."""
    lead = np.int64(byte_B[at])
    if lead < 0x80:
        return np.int64(kind_P[lead]) * 8 + 1
    size = 2 if lead < 0xE0 else 3
    if lead < 0xC2 or lead > 0xEF or at + size > stop:
        return ODD * 8 + 1
    point = lead & (0x1F if size == 2 else 0x0F)
    for k in range(1, size):
        then = np.int64(byte_B[at + k])
        if then & 0xC0 != 0x80:
            return ODD * 8 + 1
        point = (point << 6) | (then & 0x3F)
    if size == 3 and point < 0x800:
        return ODD * 8 + 1
    return (np.int64(kind_P[point]) if point < kind_P.size else BEYOND) * 8 + size


@njit(inline="always")
def _contraction(byte_B, at, stop):
    """Bytes of 's, 't, 're and the like behind an apostrophe at `at`; 0 where there is none."""
    if at + 1 >= stop:
        return 0
    one = byte_B[at + 1]
    if one == 0x73 or one == 0x74 or one == 0x6D or one == 0x64:
        return 2
    if at + 2 >= stop:
        return 0
    two = byte_B[at + 2]
    joined = ((one == 0x72 or one == 0x76) and two == 0x65) or (one == 0x6C and two == 0x6C)
    return 3 if joined else 0


@njit
def _word_end(byte_B, at, stop, kind_P):
    """Where the word that begins at `at` ends; -ODD or -BEYOND where that cannot be told."""
    begin, size = at, 0
    one = _kind(byte_B, at, stop, kind_P)
    if byte_B[at] == 0x27:
        size = _contraction(byte_B, at, stop)
    if size > 0:
        return at + size
    if byte_B[at] == 0x20 and at + 1 < stop:
        then = _kind(byte_B, at + 1, stop, kind_P)
        if then >> 3 != SPACE:
            at, one = at + 1, then
    kind = one >> 3
    if kind >= ODD:
        return -kind
    last = at
    at += one & 7
    while at < stop:
        one = _kind(byte_B, at, stop, kind_P)
        if one >> 3 != kind:
            break
        last = at
        at += one & 7
    # of white space before a word the last character goes to that, or stands alone
    return last if kind == SPACE and at < stop and last > begin else at


@njit
def _part_end(byte_B, at, stop, kind_P):
    """Where white space follows the first other character at or after `at`, or `stop`."""
    white = True
    while at < stop:
        one = _kind(byte_B, at, stop, kind_P)
        if one >> 3 == SPACE and not white:
            return at
        white = white and one >> 3 == SPACE
        at += one & 7
    return stop


@njit(inline="always")
def _unit(byte_B, at, size):
    """Up to eight bytes as one number, the first the lowest; the compiler makes one load of it."""
    unit = np.uint64(0)
    if at + 8 <= byte_B.size:
        here = byte_B[at : at + 8]
        for k in range(8):
            unit |= np.uint64(here[k]) << np.uint64(8 * k)
        return unit & (_ONES >> np.uint64(64 - 8 * size))
    for k in range(size):
        unit |= np.uint64(byte_B[at + k]) << np.uint64(8 * k)
    return unit


@njit(inline="always")
def _mixed(h, unit):
    h = (h ^ unit) * _K
    return h ^ (h >> np.uint64(29))


@njit(inline="always")
def _ended(h, size):
    h = (h ^ np.uint64(size)) * _L
    return h ^ (h >> np.uint64(32))


@njit(inline="always")
def _same(byte_B, at, size, entry_E4, number, unit_U):
    if entry_E4[number, SIZE] != size:
        return False
    unit = np.int64(entry_E4[number, START])
    for done in range(0, size, 8):
        if unit_U[unit] != _unit(byte_B, at + done, min(8, size - done)):
            return False
        unit += 1
    return True


@njit
def _number(byte_B, at, size, slot_S, entry_E4, unit_U):
    """Number of the word at `at`; -1 where it is not known."""
    h = _M
    for done in range(0, size, 8):
        h = _mixed(h, _unit(byte_B, at + done, min(8, size - done)))
    h = _ended(h, size)
    mask = np.int64(slot_S.size - 1)
    place, tag = np.int64(h) & mask, np.int64(h >> np.uint64(33))
    while slot_S[place] != 0:
        slot = slot_S[place]
        if slot >> 32 == tag:
            number = (slot & 0xFFFFFFFF) - 1
            if _same(byte_B, at, size, entry_E4, number, unit_U):
                return number
        place = (place + 1) & mask
    return np.int64(-1)


_MEMORY = (types.int64[::1], types.int32[:, ::1], types.uint64[::1])


@njit(
    [
        types.void(
            _BYTES, types.int64[::1], types.int64[::1], _BYTES, *_MEMORY,
            types.int32[::1], types.int64[:, ::1], types.int64[::1], types.int64[::1],
        )
    ],
    cache=True,
    nogil=True,
)  # fmt: skip
def find_into(byte_B, start_N, stop_N, kind_P, slot_S, entry_E4, unit_U, ref_W, unknown_W3, word_N1, made_2):
    """The words of each text: `ref_W` gets their numbers, -1 where they are unknown; text i has words `word_N1[i]` and on.

    `unknown_W3` gets (word, first byte, one past the last) of each unknown one, `made_2` how many these are, and whether
    there are characters that are not in the table. A text has no more words than bytes. What white space parts from what stands
    before it is cut by itself, so such a part with an odd character is taken for one word.
    """
    words, unknown, beyond = 0, 0, 0
    word_N1[0] = 0
    for i in range(start_N.size):
        at, stop, white = start_N[i], stop_N[i], True
        safe, safe_words, safe_unknown = at, words, unknown
        while at < stop:
            first = _kind(byte_B, at, stop, kind_P)
            if first >> 3 == SPACE and not white:
                safe, safe_words, safe_unknown = at, words, unknown
            end, number = _word_end(byte_B, at, stop, kind_P), np.int64(-1)
            if end < 0:
                beyond |= end == -BEYOND
                words, unknown = safe_words, safe_unknown
                end, at = _part_end(byte_B, at, stop, kind_P), safe
            if end - at <= LONGEST:
                number = _number(byte_B, at, end - at, slot_S, entry_E4, unit_U)
            if number < 0:
                unknown_W3[unknown, 0], unknown_W3[unknown, 1], unknown_W3[unknown, 2] = words, at, end
                unknown += 1
            ref_W[words] = number
            words += 1
            # a word that begins with white space is nothing else, or one space and what follows
            then = at + (first & 7)
            white = first >> 3 == SPACE and (end == then or _kind(byte_B, then, stop, kind_P) >> 3 == SPACE)
            at = end
        word_N1[i + 1] = words
    made_2[0], made_2[1] = unknown, beyond


@njit(
    [types.void(types.int32[::1], types.int64[::1], types.int32[:, ::1], _PLACES, types.int64[::1])],
    cache=True,
    nogil=True,
)
def lengths_into(ref_W, word_N1, entry_E4, offset_M1, length_N):
    """Tokens of each text. Word -1 - m is the unknown one m, which has `offset_M1[m + 1] - offset_M1[m]` ids."""
    for i in range(length_N.size):
        total = np.int64(0)
        for w in range(word_N1[i], word_N1[i + 1]):
            ref = np.int64(ref_W[w])
            total += entry_E4[ref, IDS] if ref >= 0 else offset_M1[-ref] - offset_M1[-1 - ref]
        length_N[i] = total


@njit(
    [
        types.void(
            types.int32[::1],
            types.int32[:, ::1],
            types.int32[::1],
            _PLACES,
            types.Array(types.int32, 1, "C", readonly=True),
            types.int32[::1],
        )
    ],
    cache=True,
    nogil=True,
)
def ids_into(ref_W, entry_E4, id_V, offset_M1, new_id, out_T):
    """The ids of all words one behind another; those of unknown ones are in `new_id`."""
    to = 0
    for w in range(ref_W.size):
        ref = np.int64(ref_W[w])
        if ref >= 0:
            first = np.int64(entry_E4[ref, FIRST_ID])
            for k in range(np.int64(entry_E4[ref, IDS])):
                out_T[to] = id_V[first + k]
                to += 1
        else:
            for k in range(offset_M1[-1 - ref], offset_M1[-ref]):
                out_T[to] = new_id[k]
                to += 1


@njit(
    [
        types.void(
            _BYTES, types.int64[::1], types.int64[::1], _PLACES, types.Array(types.int32, 1, "C", readonly=True), *_MEMORY,
            types.int32[::1], types.int64[::1],
        )
    ],
    cache=True,
    nogil=True,
)  # fmt: skip
def store_into(byte_B, start_M, stop_M, offset_M1, new_id, slot_S, entry_E4, unit_U, id_V, used_3):
    """Keep words that are not known yet, while there is room. They are found when `publish_into` has been called, and only
    then: others look words up meanwhile. `used_3`: entries, units and ids in use. The words differ from one another."""
    for m in range(start_M.size):
        size, ids = stop_M[m] - start_M[m], offset_M1[m + 1] - offset_M1[m]
        entry, unit, first = used_3[0], used_3[1], used_3[2]
        fits = entry < entry_E4.shape[0] and unit + (size + 7) // 8 <= unit_U.size and first + ids <= id_V.size
        if size > LONGEST or not fits or _number(byte_B, start_M[m], size, slot_S, entry_E4, unit_U) >= 0:
            continue
        entry_E4[entry, START], entry_E4[entry, SIZE] = unit, size
        entry_E4[entry, FIRST_ID], entry_E4[entry, IDS] = first, ids
        for done in range(0, size, 8):
            unit_U[unit] = _unit(byte_B, start_M[m] + done, min(8, size - done))
            unit += 1
        for k in range(ids):
            id_V[first + k] = new_id[offset_M1[m] + k]
        used_3[0], used_3[1], used_3[2] = entry + 1, unit, first + ids


@njit([types.void(types.int64, types.int64, *_MEMORY)], cache=True, nogil=True)
def publish_into(first, stop, slot_S, entry_E4, unit_U):
    """Let entries `first` to `stop` be found."""
    mask = np.int64(slot_S.size - 1)
    for number in range(first, stop):
        size = np.int64(entry_E4[number, SIZE])
        unit, h = np.int64(entry_E4[number, START]), _M
        for _ in range(0, size, 8):
            h = _mixed(h, unit_U[unit])
            unit += 1
        h = _ended(h, size)
        place = np.int64(h) & mask
        while slot_S[place] != 0:
            place = (place + 1) & mask
        slot_S[place] = (np.int64(h >> np.uint64(33)) << 32) | (number + 1)
