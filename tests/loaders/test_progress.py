"""Where a pass begins: at a state, at an epoch that was set, or at the epoch after."""

from forebay.loaders.progress import Progress

ROWS = 10


def is_over(epoch: int, position: int) -> bool:
    return position >= ROWS


def begun(at: Progress, *, endless: bool = False) -> tuple[int, int]:
    at.begin(is_over, endless=endless)
    return at.epoch, at.position


def test_epochs_follow_one_another_whether_they_were_finished_or_left() -> None:
    at = Progress()
    assert begun(at) == (0, 0)
    at.position = ROWS
    assert begun(at) == (1, 0)
    at.position = 3
    assert begun(at) == (2, 0)


def test_a_state_is_gone_on_with_once() -> None:
    at = Progress()
    at.load(4, 6)
    assert begun(at) == (4, 6)
    at.position = 8
    assert begun(at) == (5, 0)


def test_behind_an_epochs_end_comes_the_next_and_a_first_pass_of_it_that_was_left_is_gone_on_with() -> None:
    at = Progress()
    at.load(4, ROWS)
    assert begun(at) == (5, 0)
    at.position = 1
    assert begun(at) == (5, 1)
    at.position = 4
    assert begun(at) == (6, 0)


def test_setting_the_epoch_begins_it_but_keeps_a_state_of_it() -> None:
    at = Progress()
    at.load(2, 6)
    at.set_epoch(2)
    assert begun(at) == (2, 6)
    at.position = 8
    at.set_epoch(2)
    assert begun(at) == (2, 0)
    at.load(2, 6)
    at.set_epoch(3)
    assert begun(at) == (3, 0)


def test_an_epoch_without_an_end_is_gone_on_with() -> None:
    at = Progress()
    assert begun(at, endless=True) == (0, 0)
    at.position = 7
    assert begun(at, endless=True) == (0, 7)
