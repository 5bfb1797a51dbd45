"""The first call's texts are encoded by all threads that come by, and its result is what one thread would give."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from forebay.transforms.first_texts import MOST_ROWS, FirstTexts, FirstTogether

BLOCKS = [(0, ["a", "b"]), (2, ["c"]), (3, ["d"])]


def test_the_first_call_waits_for_what_another_thread_has_taken():
    by, meet, begun, found = {}, threading.Barrier(2, timeout=60), threading.Event(), []

    def encode(texts):
        by[texts[0]] = threading.get_ident()
        begun.set()
        if texts[0] in "ac":  # two threads are at work at the same time
            meet.wait()
        return [one.upper() for one in texts]

    first = FirstTexts(encode)
    assert first.is_first(4) and not first.is_first(4)
    owner = threading.Thread(target=lambda: found.extend(first.run(BLOCKS)))
    owner.start()
    assert begun.wait(60)
    first.help()
    owner.join(60)
    assert found == [(0, ["A", "B"]), (2, ["C"]), (3, ["D"])]
    assert by["a"] != by["c"]


def test_an_error_in_any_thread_is_raised_where_the_batch_is_waited_for():
    def encode(texts):
        if texts == ["c"]:
            raise ValueError("c is no text")
        return texts

    with pytest.raises(ValueError, match="c is no text"):
        FirstTexts(encode).run(BLOCKS)


def test_long_batches_and_all_later_ones_are_not_shared():
    assert not FirstTexts(list).is_first(MOST_ROWS + 1)
    first = FirstTexts(list)
    assert first.is_first(0) and first.run([]) == []
    first.help()
    assert not first.is_first(1)


def test_only_the_first_call_asks_for_whole_texts():
    class Then:
        def encode(self, data, starts, stops):
            return np.zeros(0, np.int32), np.full(len(starts), -1)

    asked = []

    def encode(texts):
        asked.extend(texts)
        return [SimpleNamespace(ids=[ord(letter) for letter in one]) for one in texts]

    encoder, data = FirstTogether(encode, Then()), np.frombuffer(b"abc", np.uint8)
    ends = np.array([0, 2, 2]), np.array([2, 2, 3])
    ids, lengths = encoder.encode(data, *ends)
    assert ids.tolist() == [97, 98, 99] and lengths.tolist() == [2, 0, 1] and asked == ["ab", "", "c"]
    assert encoder.encode(data, *ends)[1].tolist() == [-1, -1, -1] and len(asked) == 3
