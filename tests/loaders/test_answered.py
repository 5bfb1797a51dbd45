"""What the loader knows of a worker: from which state it went on, and what it has done since."""

import pickle
from typing import Any

from torch.utils.data._utils.worker import _IterableDatasetStopIteration

from forebay.loaders.answered import Answered
from forebay.loaders.note import Note
from forebay.loaders.replay import Replay
from forebay.loaders.stateful import DATASET, DATASET_ITER, FETCHER


def state(at: int | None, *, iterable: bool = True) -> bytes:
    own = None if at is None else {"at": at}
    return pickle.dumps({DATASET: None if iterable else own, FETCHER: {DATASET_ITER: own} if iterable else None})


def begun(at: int | None, *, iterable: bool = True, generation: int = 0) -> Answered:
    found = Answered(iterable, None)
    found.begun(Note(0, generation, state(at, iterable=iterable), generators=b"begun"))
    return found


def answer(one: Answered, index: Any = None, *, told: bool = True, at: int | None = None, ends: bool = False) -> None:
    note = Note(0, 0, None if at is None else state(at), 1, b"told") if told else None
    one.answered(index, told=told, data=_IterableDatasetStopIteration(0) if ends else 1, note=note)


def test_before_anything_is_heard_it_is_where_it_was_sent() -> None:
    assert Answered(True, b"loaded").replay() == Replay(b"loaded")


def test_without_a_state_all_batches_of_the_epoch_are_made_again() -> None:
    one = begun(None)
    for _ in range(3):
        answer(one, [None, None], told=False)
    assert one.replay() == Replay(state(None), b"begun", None, ([None, None],) * 3)


def test_with_one_those_since_it_was_told() -> None:
    one = begun(0)
    answer(one, [None], told=False)
    assert one.replay() == Replay(state(0), b"begun", None, ([None],))
    answer(one, [None], at=2)
    assert one.replay() == Replay(state(2), b"begun", b"told")
    answer(one, [None], told=False)
    answer(one, [None], told=False)
    assert one.replay() == Replay(state(2), b"begun", b"told", ([None], [None]))
    answer(one, [None])  # it was asked for, and is what it was
    assert one.replay() == Replay(state(2), b"begun", b"told")


def test_behind_the_end_only_the_generators_count() -> None:
    one = begun(None)
    answer(one, [None], told=False)
    answer(one, ends=True)
    assert one.ended and one.replay() == Replay(state(None), b"begun", b"told")


def test_an_epoch_that_begins_forgets_the_last_one() -> None:
    one = begun(3)
    answer(one, [None], at=4)
    one.resumed = "signal"
    one.begun(Note(0, 1, state(0), generators=b"next"))
    assert one.generation == 1 and one.resumed is None and one.replay() == Replay(state(0), b"next")


def test_what_one_that_stands_in_tells_first_is_known() -> None:
    one = begun(3)
    answer(one, [None], told=False)
    before = one.replay()
    one.begun(Note(0, 0, state(4), generators=b"other", again=True))
    assert one.replay() == before


def test_samples_asked_by_number_are_made_again_only_where_that_moves_the_data_set() -> None:
    plain, counting = begun(None, iterable=False), begun(0, iterable=False)
    for one in (plain, counting):
        for index in ([1, 2], [3, 4]):
            one.answered(index, told=False, data=1, note=None)
    assert plain.replay().tasks == () and counting.replay().tasks == ([1, 2], [3, 4])
