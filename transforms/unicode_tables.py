"""What the kernels for Unicode's normal forms look up, made from Python's `unicodedata` when a form is first asked for."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal["NFC", "NFKC", "NFD", "NFKD"]
POINTS = 0x20000
"""Code points with a class: the first two planes hold all but rare ideographs, which take the library's way."""
CHANGES = 255
_UNKNOWN = {"Cn", "Cs"}
"""Categories that later versions of Unicode may fill, and that text cannot hold."""
_VOWELS_AND_TAILS = (range(0x1161, 0x1176), range(0x11A8, 0x11C3))
"""Hangul letters that join the one before them, by arithmetic: Unicode Standard, section 3.12."""


@dataclass(frozen=True, slots=True)
class FormTables:
    """Classes and pairs of a form, as `kernels.unicode_form` reads them."""

    classes: NDArray[np.uint8]
    """(POINTS,)"""
    first: int
    """First byte (UTF-8) of the least code point whose class is not 0: all bytes below it belong to class 0."""
    pairs: NDArray[np.int64]
    """(P,) starter << 21 | mark, ascending; none for the forms that take apart."""
    composed: NDArray[np.int64]
    """(P,) what each pair makes."""


@cache
def form_tables(form: Form) -> FormTables:
    """The tables of a form; they take a tenth of a second to make."""
    made = _composites() if form in ("NFC", "NFKC") else {}
    joining = {second for _, second in made}
    if made:
        joining.update(*_VOWELS_AND_TAILS)
    classes = np.full(POINTS, CHANGES, np.uint8)
    for point in range(POINTS):
        letter = chr(point)
        stays = unicodedata.is_normalized(form, letter) and point not in joining
        if stays and unicodedata.category(letter) not in _UNKNOWN:
            classes[point] = unicodedata.combining(letter)
    keys = sorted(pair for pair in made if pair[1] < POINTS)
    return FormTables(
        classes=classes,
        first=chr(int(np.argmax(classes != 0))).encode()[0],
        pairs=np.array([(one << 21) | mark for one, mark in keys], np.int64),
        composed=np.array([made[pair] for pair in keys], np.int64),
    )


def _composites() -> dict[tuple[int, int], int]:
    """(starter, mark) -> the code point that NFC makes of the two."""
    found = {}
    for point in range(0xC0, POINTS):
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and parts[0][0] != "<":
            pair = int(parts[0], 16), int(parts[1], 16)
            # some are left out of composition (Unicode's exclusions), which NFC itself tells
            if unicodedata.normalize("NFC", chr(pair[0]) + chr(pair[1])) == chr(point):
                found[pair] = point
    return found
