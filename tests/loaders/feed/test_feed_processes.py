"""Users' Python functions in spawned processes: the same batches, errors with their place, and nothing left behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tables, user_functions

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import DataError, LoaderError, SpecError, WorkerError

ROWS = 3000


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> fb.Dataset:
    path: Path = tmp_path_factory.mktemp("processes")
    raw = fb.scan(str(tables.write_parquet(path / "raw"))).select("row", "n", "y")
    raw.write(str(path / "out"), format="parquet", max_rows=700)
    return fb.scan(str(path / "out"))


def loader(ds: fb.Dataset, **options: Any) -> Any:
    return fb.DataLoader(ds, **{"batch_size": 100, "shuffle": True, "window_rows": 900, **options})


def equal(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    def same(x: Any, y: Any) -> bool:
        return torch.equal(x, y) if isinstance(x, torch.Tensor) else bool(x == y)

    pairs = zip(one, other, strict=True)
    return all(x.keys() == y.keys() and all(same(x[name], y[name]) for name in x) for x, y in pairs)


def running() -> list[int]:
    """The loader's processes that are still there."""
    return [one.pid for one in multiprocessing.active_children() if one.name.startswith("forebay-python") and one.pid]


def all_gone() -> bool:
    gc.collect()
    for _ in range(100):
        if not running():
            return True
        time.sleep(0.05)
    return False


def test_batches_are_the_same_as_in_threads_and_made_elsewhere(ds: fb.Dataset) -> None:
    worked = ds.map_batches(user_functions.squared, version="1", columns=["row"]).apply(T.Standardize(["n"])).fit()
    worked = worked.map_batches(user_functions.spelled, version="1", columns=["row"])
    plain = list(loader(worked))
    assert equal(plain, list(loader(worked, python_processes=2, num_workers=3)))
    elsewhere = loader(ds.map_batches(user_functions.with_pid, version="1", columns=["row"]), python_processes=2)
    found = {pid for _ in range(2) for batch in elsewhere for pid in batch["pid"].tolist()}
    assert os.getpid() not in found and len(found) <= 2 and set(running()) >= found  # those of the first epoch serve on
    del elsewhere
    assert all_gone()


def test_kept_batches_stay_whole_and_functions_may_keep_their_input(ds: fb.Dataset) -> None:
    twice = ds.map_batches(user_functions.spelled, version="1", columns=["row"])
    kept = [
        (one["counted"], one["counted"].clone(), one["row"])
        for _ in range(3)
        for one in loader(twice, python_processes=1)
    ]
    assert all(torch.equal(one, copy) for one, copy, _ in kept)
    both = ds.map_batches(user_functions.same_twice, version="1", columns=["row"])
    both = both.map_batches(user_functions.keeps_its_input, version="1", columns=["row", "same"])
    assert all(batch["whole"].all() for batch in loader(both, batch_size=7, python_processes=1))


def test_a_bad_row_is_named_with_its_place_and_the_trace_of_the_process(ds: fb.Dataset) -> None:
    failing = loader(ds.map_batches(user_functions.fails_at_1234, version="1"), python_processes=2)
    with pytest.raises(
        DataError, match=r"part-0.*: fragment \d, row \d+, stage MapBatches.*ZeroDivisionError: twelve"
    ) as info:
        list(failing)
    assert any("in a Python process of the loader" in note and "fails_at_1234" in note for note in info.value.__notes__)
    with pytest.raises(DataError, match="twelve thirty-four"):  # it can be asked again
        list(failing)


def test_an_error_that_cannot_travel_comes_as_text(ds: fb.Dataset) -> None:
    with pytest.raises(LoaderError, match="a Python process raised _Leaves: 1 and 2"):
        list(loader(ds.map_batches(user_functions.leaves_oddly, version="1"), python_processes=1))


def test_a_broken_contract_is_said_as_in_threads(ds: fb.Dataset) -> None:
    broken = ds.map_batches(user_functions.breaks_its_contract, version="1")
    with pytest.raises(DataError, match="returned .* rows for .*expected as many rows"):
        list(loader(broken, python_processes=1))


def test_a_killed_process_is_an_error_not_a_hang(ds: fb.Dataset) -> None:
    dying = loader(ds.map_batches(user_functions.dies, version="1"), python_processes=1)
    with pytest.raises(WorkerError, match=r"Python process \d+ ended by signal 9 while it ran .* rows from .*part-0"):
        list(dying)
    with pytest.raises(WorkerError, match="ended by signal 9"):
        list(dying)
    del dying
    assert all_gone()


def test_leaving_in_the_middle_leaves_no_process(ds: fb.Dataset) -> None:
    worked = loader(ds.map_batches(user_functions.sleeps, version="1"), python_processes=2)
    next(iter(worked))
    assert len(running()) == 2
    del worked
    assert all_gone()


@pytest.mark.parametrize("how", ["end", "kill"])
def test_processes_end_with_the_trainers(ds: fb.Dataset, how: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, time\nimport forebay as fb\nfrom support import user_functions\n"
        "if __name__ == '__main__':\n"
        "    ds = fb.scan(sys.argv[1]).map_batches(user_functions.with_pid, version='1', columns=['row'])\n"
        "    loader = fb.DataLoader(ds, batch_size=100, python_processes=1)\n"
        "    print(next(iter(loader))['pid'][0].item(), flush=True)\n"
        "    if sys.argv[2] == 'kill':\n        time.sleep(60)\n"
    )
    support = str(Path(user_functions.__file__).parents[1])
    paths = os.pathsep.join([support, os.environ.get("PYTHONPATH", "")])
    directory = os.path.dirname(ds.source.paths[0])
    with subprocess.Popen(
        [sys.executable, str(script), directory, how],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        if how == "kill":
            process.send_signal(signal.SIGKILL)
        process.wait(30)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def test_functions_that_cannot_be_sent_are_named_when_the_loader_is_made(ds: fb.Dataset) -> None:
    lambdas = ds.map_batches(lambda batch: batch, version="1")
    with pytest.raises(
        SpecError, match=r"the function '.*<lambda>' cannot be sent to another process .*top level of a module"
    ):
        loader(lambdas, python_processes=2)
    assert len(list(loader(lambdas, num_workers=2))) == 30
    with pytest.raises(SpecError, match=r"no Python function for them \(.map_batches\).*num_workers"):
        loader(ds, python_processes=2)
    with pytest.raises(SpecError, match="python_processes is -1"):
        loader(ds.map_batches(user_functions.squared, version="1"), python_processes=-1)


def test_a_state_is_the_same_with_and_without_processes(ds: fb.Dataset) -> None:
    worked = ds.map_batches(user_functions.squared, version="1", columns=["row"])
    one = loader(worked, python_processes=1, seed=4)
    iterator = iter(one)
    for _ in range(3):
        next(iterator)
    other = loader(worked, seed=4)
    other.load_state_dict(one.state_dict())
    assert equal(list(iterator), list(other))


def test_members_of_a_mixture_have_functions_of_their_own(ds: fb.Dataset) -> None:
    one = ds.map_batches(user_functions.squared, version="1", columns=["row"])
    other = ds.map_batches(user_functions.cubed, version="1", columns=["row"])
    batch = next(iter(loader(fb.mix({one: 1, other: 1}), shuffle=False, batch_size=6, python_processes=1)))
    assert sorted(batch["square"].tolist()) == [0, 0, 1, 1, 4, 8]  # squares and cubes of 0, 1, 2


def test_a_script_without_a_guard_is_told_so(ds: fb.Dataset, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nimport forebay as fb\nfrom support import user_functions\n"
        "ds = fb.scan(sys.argv[1]).map_batches(user_functions.with_pid, version='1', columns=['row'])\n"
        "next(iter(fb.DataLoader(ds, batch_size=100, python_processes=1)))\n"
    )
    paths = os.pathsep.join([str(Path(user_functions.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script), os.path.dirname(ds.source.paths[0])],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 1 and "WorkerError" in done.stderr and "if __name__ == '__main__':" in done.stderr
