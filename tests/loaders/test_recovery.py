"""on_worker_death="restart": real kills, exits and hangs, and the loop gives what it gives undisturbed."""

import multiprocessing
import os
import signal

import pytest
import torch
from support.drawing_samples import DrawingSamples, FatalSamples

import forebay as fb
from forebay.formats.errors import SpecError, WorkerError
from forebay.loaders import recovery

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning")

ROWS, BATCH = 96, 8


def make(dataset, **options):
    return fb.DataLoader(dataset, BATCH, num_workers=2, **{"on_worker_death": "restart", **options})


def assert_whole(batches, rows=ROWS):
    """Each sample once, in order, and all of its numbers."""
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(rows))
    for arrays, labels in batches:
        assert (arrays == labels[:, None]).all()


def held():
    """Descriptors, processes, and names in shared memory that are this process's or this loader's."""
    names = {one for one in os.listdir("/dev/shm") if "forebay" in one or f"_{os.getpid()}_" in one}
    return len(os.listdir("/proc/self/fd")), len(multiprocessing.active_children()), names


def ended(pid):
    return not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}, {"prefetch_factor": 4}, {"arena_bytes": 0}])
@pytest.mark.parametrize("how", ["kill", "exit"])
def test_no_batch_is_lost_and_batches_that_are_kept_stay_whole(how, options, tmp_path, caplog) -> None:
    loader = make(FatalSamples(ROWS, (3, 40, 41, 70), tmp_path, how), **options)
    assert_whole(list(loader))
    assert_whole(list(loader))
    replaced = [one.getMessage() for one in caplog.records if one.name == recovery.__name__]
    assert len(replaced) == 4
    end = "was killed by SIGKILL" if how == "kill" else "ended with exit code 3"
    assert all(end in one and one.endswith("]: replaced") for one in replaced)
    assert any("at batch 0 of samples [0, 1, 2, 3, 4, 5, 6, 7]" in one for one in replaced)


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_workers_that_are_not_forked_are_replaced_too(method, tmp_path) -> None:
    dataset = FatalSamples(ROWS, (20,), tmp_path)
    assert_whole(list(make(dataset, multiprocessing_context=method)))


def test_a_stuck_worker_is_replaced_and_its_stack_printed(tmp_path, capfd, caplog) -> None:
    loader = make(FatalSamples(ROWS, (41,), tmp_path, "hang"), timeout=1.5)
    assert_whole(list(loader))
    printed = capfd.readouterr().err
    assert "DataLoader worker 1 (pid " in printed and "is stuck; its stacks:" in printed
    assert "in die_or_hang" in printed and "in __getitem__" in printed
    assert "gave nothing for timeout=1.5 seconds and was ended, at batch 5 of samples [40, 41" in caplog.text


def test_a_sample_that_always_kills_is_named() -> None:
    loader = make(FatalSamples(ROWS, (25,)))
    found, children = [], set(multiprocessing.active_children())
    with pytest.raises(WorkerError) as error:
        for batch in loader:
            found.append(batch)
    assert_whole(found, 24)
    told = str(error.value)
    assert "was killed by SIGKILL (the kernel does that where memory runs out)" in told
    assert "at batch 3 of samples [24, 25, 26, 27, 28, 29, 30, 31], 3 times in a row: it is not replaced" in told
    assert "num_workers=0" in told
    assert isinstance(error.value, RuntimeError)
    del error
    assert set(multiprocessing.active_children()) <= children


def test_a_sample_that_always_hangs_is_named() -> None:
    loader = make(FatalSamples(ROWS, (0,), how="hang"), timeout=0.5)
    with pytest.raises(
        WorkerError, match=r"timeout=0.5 seconds and was ended, at batch 0 of samples \[0, 1.*3 times in a row"
    ):
        list(loader)


def test_deaths_without_end_are_ended(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(recovery, "IN_ALL", 4)
    loader = make(FatalSamples(ROWS, range(0, ROWS, BATCH), tmp_path))
    with pytest.raises(WorkerError, match="as 4 workers before did: it is not replaced once more"):
        list(loader)


def test_long_batches_are_named_in_short() -> None:
    loader = fb.DataLoader(FatalSamples(64, (0,)), 64, num_workers=1, on_worker_death="restart")
    with pytest.raises(WorkerError, match=r"samples \[0, 1, .* 14, 15, ... 64 in all\], 3 times"):
        list(loader)


def test_random_samples_are_the_same_after_a_death_where_they_belong_to_their_index(tmp_path) -> None:
    options = {"shuffle": True, "deterministic": True, "seed": 1}
    expected = list(fb.DataLoader(DrawingSamples(ROWS), BATCH, **options))
    for batch, known in zip(make(KilledOnce(ROWS, tmp_path), **options), expected, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(batch, known, strict=True))


class KilledOnce(DrawingSamples):
    def __init__(self, count, marker):
        super().__init__(count)
        self.fatal = FatalSamples(count, (50,), marker)

    def __getitem__(self, index):
        self.fatal[index]
        return super().__getitem__(index)


def test_a_death_names_the_samples_of_the_deterministic_order() -> None:
    loader = make(FatalSamples(ROWS, (0,)), deterministic=True)
    with pytest.raises(WorkerError, match=r"at batch 0 of samples \[0, 1, 2, 3, 4, 5, 6, 7\]"):
        list(loader)


def test_out_of_order_each_batch_comes_once(tmp_path) -> None:
    loader = make(FatalSamples(ROWS, (3, 40), tmp_path), in_order=False)
    assert_whole(sorted(loader, key=lambda batch: int(batch[1][0])))


@pytest.mark.parametrize("when", ["between two epochs", "in the middle"])
def test_workers_that_are_killed_from_outside_are_replaced(when, caplog) -> None:
    loader = make(FatalSamples(ROWS), persistent_workers=True)
    iterator = iter(loader)
    found = [next(iterator) for _ in range(3)]
    if when == "between two epochs":
        found += iterator
        assert_whole(found)
        found = []
    killed = [worker.pid for worker in loader._iterator._workers]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    found += iterator if found else loader
    assert_whole(found)
    assert all(ended(pid) for pid in killed)
    assert caplog.text.count(": replaced") == 2


def test_nothing_is_left_behind(tmp_path) -> None:
    list(make(FatalSamples(ROWS, (), None)))
    before = held()
    loader = make(FatalSamples(ROWS, (3, 40, 41, 70), tmp_path))
    assert_whole(list(loader))
    del loader
    assert held() == before


def test_a_state_taken_after_a_death_goes_on_exactly(tmp_path) -> None:
    loader = make(FatalSamples(ROWS, (3, 40), tmp_path))
    iterator = iter(loader)
    found = [next(iterator) for _ in range(7)]
    state = loader.state_dict()
    del iterator
    resumed = make(FatalSamples(ROWS))
    resumed.load_state_dict(state)
    assert_whole(found + list(resumed))


def test_without_it_a_death_ends_the_loop_as_in_torch() -> None:
    for made in (torch.utils.data.DataLoader, fb.DataLoader):
        with pytest.raises(
            RuntimeError, match=r"DataLoader worker \(pid.* (is killed by signal: Killed|exited unexpectedly)"
        ):
            list(made(FatalSamples(ROWS, (3,)), BATCH, num_workers=2))


def test_unknown_words_are_refused() -> None:
    with pytest.raises(SpecError, match="on_worker_death is 'retry'; expected 'raise' .as torch does. or 'restart'"):
        make(FatalSamples(3), on_worker_death="retry")
