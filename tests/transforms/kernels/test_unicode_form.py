"""Normal forms of Unicode, against Python's `unicodedata`."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.transforms.kernels.unicode_form import check_into, compose_into
from forebay.transforms.text_column import text_bytes, text_column, text_room
from forebay.transforms.unicode_tables import CHANGES, POINTS, form_tables

FORMS = ["NFC", "NFKC", "NFD", "NFKD"]
MARKS = [
    "\u0300",
    "\u0301",
    "\u0302",
    "\u0307",
    "\u0323",
    "\u0327",
    "\u0338",
    "\u0344",
    "\u05b4",
    "\u064b",
    "\u093c",
    "\u09be",
    "\u3099",
]
LETTERS = [
    *"aeosAEnx",
    "é",
    "ṣ",
    "ạ",
    "α",
    "ω",
    "ل",
    "क",
    "ক",
    "か",
    "각",
    "\u1100",
    "\u1161",
    "\u11a8",
    "\u212b",
    "ﬁ",
    "漢",
    "😀",
]
PIECES = st.sampled_from([*MARKS, *LETTERS, "a" * 35, "plain words "])
TEXTS = st.lists(
    st.lists(PIECES | st.characters(exclude_categories=["Cs", "Cn"]), max_size=10).map("".join), max_size=6
)


def checked(texts: list[str], form: str) -> tuple[list[int], list[str]]:
    """Which may change, before and after pairs are composed, and the texts then."""
    tables, column = form_tables(form), pa.array(texts, pa.string())
    offsets, data = text_bytes(column)
    left = np.empty(len(texts), np.uint8)
    check_into(offsets, data, tables.classes, tables.first, left)
    may_change = left.tolist()
    made = np.empty_like(offsets)
    buffer, out = text_room(int(offsets[-1]))
    compose_into(offsets, data, tables.classes, tables.first, tables.pairs, tables.composed, left, made, out)
    composed = text_column(column, made, buffer).to_pylist()
    for at in np.flatnonzero(left):
        assert composed[at] == ""
        composed[at] = unicodedata.normalize(form, texts[at])
    return may_change, composed


@pytest.mark.parametrize("form", FORMS)
@given(texts=TEXTS)
@settings(deadline=None, max_examples=300)
def test_what_passes_the_check_is_normal_and_what_is_composed_is_right(form: str, texts: list[str]) -> None:
    may_change, composed = checked(texts, form)
    for text, flag in zip(texts, may_change, strict=True):
        assert flag or unicodedata.is_normalized(form, text)
    assert composed == [unicodedata.normalize(form, text) for text in texts]


@pytest.mark.parametrize("form", FORMS)
def test_every_code_point_alone_and_behind_a_letter(form: str) -> None:
    points = [chr(point) for point in range(POINTS + 0x100) if unicodedata.category(chr(point)) not in ("Cs", "Cn")]
    for texts in (points, [f"e{one}" for one in points], [f"{one}\u0301." for one in points]):
        assert checked(texts, form)[1] == [unicodedata.normalize(form, text) for text in texts]


def test_accents_taken_apart_need_no_library() -> None:
    texts = [unicodedata.normalize("NFD", text) for text in ["déjà vu", "Ångström", "naïve " * 30, "Здравствуй"]]
    tables, column = form_tables("NFC"), pa.array(texts)
    offsets, data = text_bytes(column)
    left, made = np.ones(4, np.uint8), np.empty(5, np.int64)
    compose_into(
        offsets,
        data,
        tables.classes,
        tables.first,
        tables.pairs,
        tables.composed,
        left,
        made,
        np.empty(len(data), np.uint8),
    )
    assert not left.any()


def test_bytes_that_are_no_text_are_left_to_the_library() -> None:
    broken = [b"\xe2\x80", b"a\xcc", b"\xff", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xe0\x80\x80", b"\xcc\x20"]
    offsets, data = text_bytes(pa.array(broken, pa.binary()))
    tables, left = form_tables("NFC"), np.empty(len(broken), np.uint8)
    check_into(offsets, data, tables.classes, tables.first, left)
    assert left.all()


def test_unknown_code_points_are_left_to_the_library() -> None:
    unassigned = next(point for point in range(0x500, POINTS) if unicodedata.category(chr(point)) == "Cn")
    assert all(form_tables(form).classes[unassigned] == CHANGES for form in FORMS)
    assert form_tables("NFC").first == 0xCC  # U+0300: everything before it stays as it is
