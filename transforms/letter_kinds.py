"""What a byte-level tokenizer takes a character for: a letter, a number, white space, or something else."""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from forebay.transforms.compiled import kernels

_words = kernels("words")

TWO_BYTES, BASIC_PLANE = 0x800, 0x10000
"""Code points whose UTF-8 takes one or two bytes; one to three."""
_WHITE = {0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0x20, *range(0x09, 0x0E), *range(0x2000, 0x200B)}
"""Unicode's White_Space, which is what `\\s` means to the tokenizers."""
_UNSETTLED = {"Cn", "Cs"}
"""Categories of what a later version of Unicode may fill, and of what no text holds."""


@cache
def letter_kinds(points: int) -> NDArray[np.uint8]:
    """(points,) kinds of the first code points, as `kernels.words` reads them.

    The tokenizer's library has a Unicode of its own version, so a character that is not in version 3.2 (which Python keeps), or
    that was something else there, is ODD.
    """
    now_of, old_of = unicodedata.category, unicodedata.ucd_3_2_0.category
    white, other = int(_words.SPACE), int(_words.OTHER)
    by_category = {"L": int(_words.LETTER), "N": int(_words.NUMBER)}
    kinds = bytearray([_words.ODD]) * points
    for point in range(points):
        here = chr(point)
        now, old = now_of(here), old_of(here)
        if now in _UNSETTLED:
            continue
        if point in _WHITE:
            kinds[point] = white
        elif old != "Cn" and (kind := by_category.get(now[0], other)) == by_category.get(old[0], other):
            kinds[point] = kind
    return np.frombuffer(bytes(kinds), np.uint8)
