"""Fingerprints of texts: MurmurHash3's known answers, and what they depend on."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.transforms.kernels.text_fingerprint import fingerprint_into
from forebay.transforms.text_column import text_bytes

KNOWN = {
    "": "00000000000000000000000000000000",
    "hello": "cbd8a7b341bd9b025b1e906a48ae1d19",
    "hello, world": "342fac623a5ebc8e4cdcbc079642414d",
    "The quick brown fox jumps over the lazy dog.": "cd99481f9ee902c9695da1a38987b6e7",
}
"""x64 variant, seed 0, as the tests of the reference's ports give them."""


def fingerprints(column: pa.Array) -> list[str]:
    high, low = np.empty(len(column), np.uint64), np.empty(len(column), np.uint64)
    fingerprint_into(*text_bytes(column), high, low)
    return [f"{int(one):016x}{int(two):016x}" for one, two in zip(high, low, strict=True)]


def test_known_answers() -> None:
    assert fingerprints(pa.array(list(KNOWN))) == list(KNOWN.values())


@given(texts=st.lists(st.text(max_size=40), max_size=20))
@settings(deadline=None)
def test_they_tell_texts_apart_and_nothing_else_counts(texts: list[str]) -> None:
    column = pa.array(texts, pa.string())
    found = fingerprints(column)
    assert len(set(found)) == len(set(texts))
    assert fingerprints(column.cast(pa.large_string())) == found
    assert fingerprints(pa.array(["before", *texts])[1:]) == found
