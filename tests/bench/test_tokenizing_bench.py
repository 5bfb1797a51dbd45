"""The benchmark of tokenizing, at toy size."""

import pytest

from forebay.bench import tokenizing

pytest.importorskip("tokenizers")


def test_it_measures_made_up_and_natural_texts():
    found = tokenizing.main(["--quick"])
    assert list(found) == ["made up", "descriptions"]
    for one in found.values():
        assert list(one) == ["forebay, first pass", "forebay, later", "tokenizers"] and min(one.values()) > 0


def test_descriptions_are_cut_into_texts_of_a_bounded_number():
    texts = tokenizing.descriptions(5)
    assert len(texts) == 5 and min(map(len, texts)) >= 1_000
