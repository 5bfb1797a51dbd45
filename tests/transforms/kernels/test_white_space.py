"""Trimming and collapsing white space, against Python's own."""

import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.transforms.kernels.white_space import collapse_into, trimmed_into
from forebay.transforms.text_column import text_bytes, text_column, text_room

SPACES = [chr(point) for point in range(0x110000) if chr(point).isspace()]
NEAR = [
    "\u0084",
    "\u0086",
    "\u009f",
    "\u00a1",
    "\u1681",
    "\u1680x",
    "\u1fff",
    "\u200b",
    "\u202a",
    "\u2060",
    "\u3001",
    "\x00",
    "\x1b",
    "\x7f",
]
PIECES = st.sampled_from([*SPACES, *NEAR, " ", " ", "word", "a" * 40, "é", "漢字", "😀", "two words"])
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=6)


def cleaned(texts: list[str], *, inner: bool) -> list[str]:
    column = pa.array(texts, pa.string())
    offsets, data = text_bytes(column)
    starts, stops = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
    trimmed_into(offsets, data, starts, stops)
    made = np.empty_like(offsets)
    buffer, out = text_room(int((stops - starts).sum()))
    collapse_into(starts, stops, data, inner, made, out)
    return text_column(column, made, buffer).to_pylist()


@given(texts=TEXTS)
@settings(deadline=None, max_examples=300)
def test_it_is_what_python_does(texts: list[str]) -> None:
    assert cleaned(texts, inner=False) == [text.strip() for text in texts]
    assert cleaned(texts, inner=True) == [re.sub(r"\s+", " ", text).strip() for text in texts]


def test_every_white_space_character_at_every_place_of_a_block() -> None:
    for space in SPACES:
        texts = ["x" * before + space + "y" * 50 for before in range(1, 70)]
        assert cleaned(texts, inner=True) == [text.replace(space, " ") for text in texts]
        assert cleaned([space, space * 3, f"{space}a{space}"], inner=True) == ["", "", "a"]


def test_bytes_that_are_no_text_are_passed_on() -> None:
    broken = [b"\xe2\x80", b"a\xe3", b"\xc2", b"\xff \xfe", b"\xe1\x9a"]
    column = pa.array(broken, pa.binary())
    offsets, data = text_bytes(column)
    starts, stops = np.empty(5, np.int64), np.empty(5, np.int64)
    trimmed_into(offsets, data, starts, stops)
    assert [(a, b) for a, b in zip(starts, stops, strict=True)] == list(zip(offsets[:-1], offsets[1:], strict=True))
