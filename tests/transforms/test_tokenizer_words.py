"""Remembered words beside the tokenizers library, text by text."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.learning import ids
from support.tokenizers_made import byte_level_bpe, texts, word_piece

from forebay import transforms as T
from forebay.transforms.first_texts import FirstTogether
from forebay.transforms.letter_kinds import BASIC_PLANE, TWO_BYTES, letter_kinds
from forebay.transforms.text_column import text_bytes
from forebay.transforms.tokenizer_words import RememberedWords, added_tokens, words_alone

pytest.importorskip("tokenizers")

PIECES = st.sampled_from(
    [
        *"aZé0½Ⅷ漢ß'\u0301.,-\u2019",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "\u0085",
        "\u2003",
        "\u3000",
        "\x1c",
        "\x00",
        "\x7f",
    ]
    + [
        "'s",
        "'t",
        "'re",
        "'ve",
        "'m",
        "'ll",
        "'d",
        "'S",
        "'r",
        "'l",
        "don't",
        "word",
        "12",
        "🙂",
        "\U0001d7d8",
        "\u0378",
        "_" * 70,
    ]
)
TEXTS = st.lists(st.lists(PIECES, max_size=14).map("".join), max_size=6)


class Recorded:
    """A tokenizer's call, and what it was asked for."""

    def __init__(self, tokenizer):
        self.tokenizer, self.asked = tokenizer, []

    def __call__(self, found):
        self.asked += found
        return self.tokenizer.encode_batch_fast(found)


def lists(encoder, values):
    offsets, data = text_bytes(pa.array(values, pa.string()))
    ids, lengths = encoder.encode(data, offsets[:-1], offsets[1:])
    assert ids.dtype == np.int32 and len(lengths) == len(values)
    return [one.tolist() for one in np.split(ids, np.cumsum(lengths)[:-1])] if values else []


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level_bpe()


@pytest.fixture(scope="module")
def known(tokenizer):
    """One memory for all examples, so that words of earlier ones are known."""
    return RememberedWords(tokenizer.encode_batch_fast, ())


@given(values=TEXTS)
@settings(deadline=None, max_examples=400)
def test_ids_are_the_librarys_own(tokenizer, known, values):
    expected = [one.ids for one in tokenizer.encode_batch(values)]
    assert lists(known, values) == expected  # first some words are unknown, then none
    assert lists(known, values) == expected


def test_every_character_is_taken_for_what_the_library_takes_it_for(tokenizer):
    letters = [chr(point) for point in range(BASIC_PLANE) if not 0xD800 <= point < 0xE000]
    values = [f"a{one}1{one}.{one} {one}\n{one}x" for one in letters]
    asked = Recorded(tokenizer)
    made = lists(RememberedWords(asked, ()), values)
    assert made == [one.ids for one in tokenizer.encode_batch_fast(values)]
    odd = {one for one in asked.asked if len(one) > 4}  # as no word here is
    assert len(odd) < len(values) / 4


def test_of_a_text_with_an_odd_character_only_what_stands_around_it_is_asked_for(tokenizer):
    asked = Recorded(tokenizer)
    encoder = RememberedWords(asked, ())
    values = ["one two 🙂 one", "a🙂 two", "  x🙂y\n one", "🙂", "one 🙂\n"]
    lists(encoder, ["one two one", " one two a\n one"])
    asked.asked.clear()
    assert lists(encoder, values) == [one.ids for one in tokenizer.encode_batch(values)]
    assert asked.asked == [" 🙂", "a🙂", "  x🙂y", "🙂"]


def test_most_characters_of_european_languages_have_a_kind_without_the_large_table():
    known = letter_kinds(TWO_BYTES)
    assert (letter_kinds(BASIC_PLANE)[:TWO_BYTES] == known).all()
    assert not (known[:0x220] == known[0x378]).any() and len(set(known[:128].tolist())) == 4


def test_the_library_is_asked_for_each_word_once(tokenizer):
    asked = Recorded(tokenizer)
    encoder = RememberedWords(asked, ())
    lists(encoder, ["one two two", "two one three two"])
    assert sorted(asked.asked) == [" one", " three", " two", "one", "two"]
    assert lists(encoder, ["two one", "one two three"]) == [
        one.ids for one in tokenizer.encode_batch(["two one", "one two three"])
    ]
    assert len(asked.asked) == 5


def test_the_first_texts_do_not_wait_for_words(tokenizer):
    asked = Recorded(tokenizer)
    encoder, values = FirstTogether(asked, RememberedWords(asked, ())), ["one two", "two three"]
    for wanted in (values, ["one", " two", "two", " three"], []):
        asked.asked.clear()
        assert lists(encoder, values) == [one.ids for one in tokenizer.encode_batch(values)]
        assert asked.asked == wanted


def test_long_words_and_words_beyond_the_room_are_asked_for_each_time(tokenizer):
    asked = Recorded(tokenizer)
    encoder = RememberedWords(asked, (), most=4)
    values = ["a b c d e f", "x" * 65, "a" * 64]
    for _ in range(2):
        asked.asked.clear()
        assert lists(encoder, values) == [one.ids for one in tokenizer.encode_batch(values)]
    assert asked.asked == [" e", " f", "x" * 65, "a" * 64]


def test_texts_with_an_added_token_are_the_librarys_alone():
    made = byte_level_bpe(special=True)
    made.post_processor = None
    made.add_tokens(["wo rd"])
    encoder = RememberedWords(made.encode_batch_fast, added_tokens(made))
    values = ["a wo rd b", "a</s>b", "<s", "wo rt", "a b"]
    assert lists(encoder, values) == [one.ids for one in made.encode_batch(values)]
    assert lists(encoder, values[2:]) == [one.ids for one in made.encode_batch(values[2:])]
    assert set(added_tokens(made)) == {b"<s>", b"</s>", b"wo rd"}


def test_a_large_column_is_looked_up_in_parts(tokenizer):
    values = ["", *texts(4_000), "long " * 60_000, "", "end"]
    assert lists(RememberedWords(tokenizer.encode_batch_fast, ()), values) == [
        one.ids for one in tokenizer.encode_batch(values)
    ]


def test_threads_may_ask_while_words_are_added(tokenizer):
    encoder = RememberedWords(tokenizer.encode_batch_fast, ())
    parts = [texts(60, seed) for seed in range(24)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda values: lists(encoder, values), parts))
    assert found == [[one.ids for one in tokenizer.encode_batch(values)] for values in parts]


def test_bytes_that_are_no_text_are_not_read_beyond_their_end(tokenizer):
    encoder = RememberedWords(tokenizer.encode_batch_fast, ())
    for broken in (b"\xe6\x97", b"a\xc3", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xe0\x80\xaf"):
        column = pa.array([broken, b"\xa5 more"], pa.binary())
        offsets, data = text_bytes(column)
        with pytest.raises(UnicodeDecodeError):
            encoder.encode(data, offsets[:1], offsets[1:2])


def test_only_tokenizers_that_encode_each_word_by_itself_are_taken():
    from tokenizers import normalizers, pre_tokenizers

    plain, around = byte_level_bpe(), byte_level_bpe(special=True)
    assert words_alone(plain, special=True) and words_alone(around, special=False)
    assert not words_alone(around, special=True) and not words_alone(word_piece(), special=False)
    for cut in (pre_tokenizers.ByteLevel(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)):
        plain.pre_tokenizer = cut
        assert not words_alone(plain, special=True)
    plain = byte_level_bpe()
    plain.normalizer = normalizers.NFC()
    assert not words_alone(plain, special=True)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_column_with_nulls_is_tokenized_by_its_words(tokenizer, kind):
    values = ["one two", None, "", *texts(50), "long " * 30_000]
    column = pa.array(["cut off", *values], kind).slice(1)
    batch = pa.RecordBatch.from_arrays([column], ["text"])
    transform = T.Tokenize("text", tokenizer=tokenizer.to_str())
    bound = transform.bind(batch.schema, None, 0)
    for _ in range(2):  # the first texts of all are left to the library as they are
        made = bound(batch, ids(batch.num_rows))["input_ids"]
        made.validate(full=True)
        assert made.to_pylist() == [None if one is None else tokenizer.encode(one).ids for one in values]
