"""on_worker_death="restart" with iterable data sets: after real kills and hangs the loop gives, bit for bit, what it gives
undisturbed, random numbers included."""

import os
import signal
from typing import Any

import pytest
import torch
from support import fatal_streams
from support.fatal_streams import CountingSamples, PlainStream, ShorterStream, UnevenStream

import forebay as fb
from forebay.formats.errors import SpecError, WorkerError
from forebay.loaders import recovery

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning")

ROWS, BATCH = 75, 4
KINDS = ["PlainStream", "EarlyStream", "PlacedStream", "OwnStream"]


def made(kind: str, *given: Any, workers: int = 2, batch: int | None = BATCH, **options: Any) -> fb.DataLoader:
    dataset = getattr(fatal_streams, kind)(ROWS, *given)
    return fb.DataLoader(dataset, batch, num_workers=workers, **{"on_worker_death": "restart", **options})


def epochs(loader: fb.DataLoader, count: int = 2) -> list[list[Any]]:
    torch.manual_seed(5)
    return [list(loader) for _ in range(count)]


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool((found == expected).all()) if hasattr(expected, "all") else bool(found == expected)


def replaced(caplog: pytest.LogCaptureFixture) -> int:
    return sum(one.getMessage().endswith(": replaced") for one in caplog.records if one.name == recovery.__name__)


# every two of kind, workers and persistence together, but not all three: each worker, and each that replaces one, is a process
@pytest.mark.parametrize(
    ("kind", "workers", "persistent"),
    [(kind, workers, (at + workers) % 2 == 0) for at, kind in enumerate(KINDS) for workers in (1, 2)],
)
def test_nothing_is_lost_or_repeated_and_random_numbers_are_those_of_an_undisturbed_run(
    kind: str, workers: int, persistent: bool, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"persistent_workers": persistent}
    expected = epochs(made(kind, workers=workers, **options), 3)
    loader = made(kind, (0, 20, 21, 47, 74), tmp_path, workers=workers, **options)
    assert same(epochs(loader, 3), expected)
    assert replaced(caplog) == 5 and "was killed by SIGKILL (the kernel" in caplog.text


@pytest.mark.parametrize(
    ("kind", "every"),
    [(kind, 3) for kind in KINDS]
    + [("PlainStream", 1000), ("OwnStream", 1000), ("EarlyStream", None), ("PlacedStream", None)],
)
def test_what_came_since_the_last_snapshot_is_made_again(kind: str, every: int | None, tmp_path: Any) -> None:
    options = {"snapshot_every_n_steps": every, "persistent_workers": True}
    expected = epochs(made(kind, **options))
    assert same(epochs(made(kind, (31, 62, 63), tmp_path, **options)), expected)


WHEN = ["before the first batch", "in the middle", "between two epochs", "after leaving one", "in the second epoch"]


@pytest.mark.parametrize(
    ("kind", "when"),
    [(kind, when) for kind in ("PlainStream", "OwnStream") for when in WHEN]
    + [("EarlyStream", when) for when in (WHEN[0], WHEN[2])]
    + [("PlacedStream", when) for when in (WHEN[3], WHEN[4])],
)
def test_workers_that_are_killed_from_outside(kind: str, when: str, caplog: pytest.LogCaptureFixture) -> None:
    def run(kill: bool) -> list[Any]:
        torch.manual_seed(5)
        loader = made(kind, persistent_workers=True, prefetch_factor=1)
        found = []
        if when == "before the first batch":
            iterator = iter(loader)
            killed(loader, kill)
            found += [*iterator]
        elif when in ("in the middle", "in the second epoch"):
            found += [*loader] if when == "in the second epoch" else []
            iterator = iter(loader)
            found += [next(iterator) for _ in range(5)]
            killed(loader, kill)
            found += [*iterator]
        else:
            iterator = iter(loader)
            found += [*iterator] if when == "between two epochs" else [next(iterator)]
            killed(loader, kill)
        return found + [*loader] + [*loader]

    def killed(loader: fb.DataLoader, kill: bool) -> None:
        for worker in loader._iterator._workers if kill else ():
            os.kill(worker.pid, signal.SIGKILL)

    assert same(run(True), run(False))
    assert replaced(caplog) == 2


def test_workers_that_die_while_they_begin_an_epoch(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    options = {"persistent_workers": True}
    expected = epochs(made("EarlyStream", **options), 3)
    assert same(epochs(made("FatalBeginning", (), tmp_path, **options), 3), expected)
    assert replaced(caplog) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_stuck_worker_is_replaced_and_its_stack_printed(
    kind: str, tmp_path: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected = epochs(made(kind), 1)
    loader = made(kind, (33,), tmp_path, "hang", timeout=1.5)
    assert same(epochs(loader, 1), expected)
    printed = capfd.readouterr().err
    assert "is stuck; its stacks:" in printed and "in die_or_hang" in printed and "fatal_streams.py" in printed
    assert "gave nothing for timeout=1.5 seconds and was ended, at batch" in caplog.text


@pytest.mark.parametrize(
    "options", [{"batch": None}, {"drop_last": True}, {"arena_bytes": 0}, {"in_order": False}], ids=str
)
@pytest.mark.parametrize("kind", ["PlainStream", "OwnStream"])
def test_other_ways_to_batch(kind: str, options: dict[str, Any], tmp_path: Any) -> None:
    expected = epochs(made(kind, **options), 1)
    found = epochs(made(kind, (20, 21, 60), tmp_path, **options), 1)
    if options == {"in_order": False}:
        key = lambda batch: int(batch[0][0])  # noqa: E731
        found, expected = [sorted(found[0], key=key)], [sorted(expected[0], key=key)]
    assert same(found, expected)


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_workers_that_are_not_forked(method: str, tmp_path: Any) -> None:
    options = {"multiprocessing_context": method, "workers": 1, "persistent_workers": True}
    expected = epochs(made("PlacedStream", **options))
    assert same(epochs(made("PlacedStream", (20,), tmp_path, **options)), expected)


@pytest.mark.parametrize(("kind", "every"), [(kind, 3) for kind in KINDS] + [("OwnStream", 1), ("PlainStream", 1)])
def test_states_are_those_of_an_undisturbed_run_and_go_on_exactly(kind: str, every: int, tmp_path: Any) -> None:
    def run(loader: fb.DataLoader) -> tuple[list[Any], Any]:
        torch.manual_seed(5)
        iterator = iter(loader)
        return [next(iterator) for _ in range(11)], loader.state_dict()

    options = {"snapshot_every_n_steps": every}
    expected, state = run(made(kind, **options))
    found, after = run(made(kind, (0, 20, 21, 30), tmp_path, **options))
    assert same(found, expected) and str(after) == str(state)
    (tmp_path / "rest").mkdir()
    rest = []
    for given in ((), ((46, 61), tmp_path / "rest")):  # and once more, with deaths behind the state
        resumed = made(kind, *given, **options)
        resumed.load_state_dict(after)
        rest.append(list(resumed))
    assert same(rest[1], rest[0])
    rows = torch.cat([batch[0] for batch in found + rest[0]]).tolist()
    assert sorted(rows) == sorted([*range(0, ROWS, 2), *range(1, ROWS - 10, 2)])


def test_errors_of_the_data_set_come_once_and_in_their_place(tmp_path: Any) -> None:
    def told(loader: fb.DataLoader) -> list[Any]:
        found, iterator = [], iter(loader)
        while True:
            try:
                found.append(next(iterator)[0].tolist())
            except StopIteration:
                return found
            except ValueError as error:
                found.append(str(error).strip().splitlines()[-1])

    expected = told(made("FailingStream"))
    assert any("row 30 is bad" in str(one) for one in expected)
    assert told(made("FailingStream", (40, 50, 64), tmp_path)) == expected


def test_a_stream_that_always_kills_is_told_of(tmp_path: Any) -> None:
    loader = made("PlainStream", (25,))
    with pytest.raises(
        WorkerError, match=r"at batch \d+, 3 times in a row: it is not replaced once more. Iterate the data set"
    ):
        list(loader)


def test_going_on_may_take_longer_than_a_batch_may(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    loader = fb.DataLoader(
        SlowStream(20, (19,), tmp_path), 1, num_workers=1, timeout=1.5, on_worker_death="restart", prefetch_factor=1
    )
    rows = [int(batch[0][0]) for batch in loader]
    assert rows == list(range(20)) and replaced(caplog) == 1


class SlowStream(PlainStream):
    def __iter__(self) -> Any:
        import time

        for index in range(self.rows):
            time.sleep(0.15)
            yield self.row(index)


def test_a_stream_that_gives_fewer_rows_again_is_told_of(tmp_path: Any) -> None:
    loader = fb.DataLoader(ShorterStream(ROWS, (40,), tmp_path), BATCH, num_workers=1, on_worker_death="restart")
    with pytest.raises(WorkerError, match=r"gave \d+ batches before the worker died, and 3 when it was iterated again"):
        list(loader)


def test_a_batch_that_went_down_with_its_worker_comes_before_those_that_did_not(tmp_path: Any) -> None:
    loader = fb.DataLoader(
        UnevenStream(12, (7,), tmp_path),
        None,
        num_workers=1,
        prefetch_factor=8,
        arena_bytes=0,  # the tensor is in memory that only the worker can hand over
        on_worker_death="restart",
    )
    iterator = iter(loader)
    rows = [next(iterator)]
    iterator._workers[0].join(60)  # it dies at row 7, with rows 1 to 6 under way
    rows += iterator
    assert [int(row[0]) if isinstance(row, torch.Tensor) else row for row in rows] == list(range(12))


def test_a_data_set_that_counts_what_was_taken_goes_on_counting(tmp_path: Any) -> None:
    for every in (1, 4):
        options = {"num_workers": 2, "snapshot_every_n_steps": every, "on_worker_death": "restart"}
        expected = list(fb.DataLoader(CountingSamples(ROWS), BATCH, **options))
        (tmp_path / str(every)).mkdir()
        dataset = CountingSamples(ROWS, (20, 21, 60), tmp_path / str(every))
        assert same(list(fb.DataLoader(dataset, BATCH, **options)), expected)


class Pipe(torch.utils.data.IterDataPipe):  # type: ignore[type-arg]  # torch's is generic only for type checkers
    def __iter__(self) -> Any:
        return iter(range(40))


def test_data_pipes_go_on_unless_their_workers_persist() -> None:
    options = {"num_workers": 1, "on_worker_death": "restart"}
    assert len(list(fb.DataLoader(Pipe(), 4, **options))) == 10
    with pytest.raises(
        SpecError, match="cannot give a new worker the random numbers of Pipe.*Leave out persistent_workers"
    ):
        fb.DataLoader(Pipe(), 4, persistent_workers=True, **options)
