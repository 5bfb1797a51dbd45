"""Threads that take tasks in order, end when they are told to, and never hold up the process."""

import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from functools import partial

import pytest

from forebay.loaders.feed_threads import FeedThreads


def test_tasks_are_taken_in_order_and_results_come_to_who_asked():
    threads, seen = FeedThreads(1), []
    for number in range(5):
        threads.begin(partial(seen.append, number))
    assert threads.submit(lambda one, two: (list(seen), one, two), 3, two=4).result() == ([0, 1, 2, 3, 4], 3, 4)
    threads.shutdown()


def test_what_a_task_raises_is_raised_where_its_result_is_asked_for_and_the_thread_goes_on():
    threads = FeedThreads(1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result()
    assert threads.submit(int, "7").result() == 7
    threads.shutdown()


def test_all_tasks_are_done_when_it_ends_unless_they_are_to_be_dropped():
    seen = []
    threads = FeedThreads(2)
    for number in range(50):
        threads.begin(partial(seen.append, number))
    threads.shutdown()
    assert sorted(seen) == list(range(50))


def test_tasks_that_are_dropped_do_not_run_and_who_waits_for_them_is_told():
    threads, started, go_on, seen = FeedThreads(1), threading.Event(), threading.Event(), []

    def first():
        started.set()
        go_on.wait()
        with pytest.raises(CancelledError):
            later.result()  # a task may wait for one that has not begun
        seen.append("first")

    threads.begin(first)
    started.wait()
    later = threads.submit(seen.append, "later")
    threads.begin(partial(seen.append, "more"))
    threading.Timer(0.05, go_on.set).start()
    threads.shutdown(cancel_futures=True)
    assert seen == ["first"] and later.cancelled()


def test_threads_end_when_nobody_holds_them():
    before = threading.active_count()
    threads = FeedThreads(3)
    assert threading.active_count() == before + 3
    del threads
    assert threading.active_count() == before


MID_EPOCH = """
import numpy as np, pyarrow as pa, sys
import forebay as fb
batch = pa.record_batch({"x": np.arange(200_000, dtype=np.float32)})
with pa.ipc.new_file(sys.argv[1], batch.schema) as sink:
    sink.write_batch(batch)
batches = iter(fb.DataLoader(fb.scan(sys.argv[1]), batch_size=8, shuffle=True, num_workers=2))
print(len(next(batches)["x"]))
sys.exit(7)
"""


def test_a_process_that_ends_in_the_middle_of_an_epoch_ends_at_once(tmp_path):
    command = [sys.executable, "-X", "faulthandler", "-c", MID_EPOCH, str(tmp_path / "rows.arrow")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (7, "8", "")
