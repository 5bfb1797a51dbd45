"""CPU time and memory of a tree of processes, against processes that are known to use some."""

import os
import subprocess
import sys
import time

from forebay.bench.process_tree import bytes_read, cpu_seconds, descendants, memory, waiting_shared

SPIN = "import time\nuntil = time.process_time() + 0.5\nwhile time.process_time() < until: pass\n"


def test_cpu_time_of_children_counts_while_they_live_and_after():
    before = cpu_seconds(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", SPIN + "time.sleep(30)"])
    while cpu_seconds(child.pid) < 0.5:
        time.sleep(0.02)
    living = cpu_seconds(os.getpid()) - before
    assert child.pid in descendants(os.getpid())
    child.terminate()
    child.wait()
    assert living >= 0.5
    assert cpu_seconds(os.getpid()) - before >= 0.5
    assert child.pid not in descendants(os.getpid())


def test_memory_of_a_child_is_in_the_trees():
    hold = "held = b'x' * 200_000_000\nprint('ready', flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    held, tree = memory(child.pid), memory(os.getpid())
    child.communicate(b"\n")
    assert held.pss > 190_000_000
    assert tree.pss > held.pss
    assert 0 < held.without_files <= held.pss


def test_bytes_read_grow_by_what_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    before = bytes_read(os.getpid())[0]
    (tmp_path / "file").read_bytes()
    assert bytes_read(os.getpid())[0] - before >= 1_000_000


def test_shared_memory_that_is_only_held_open_counts_until_it_is_mapped():
    hold = (
        "import mmap, os\nfd = os.memfd_create('held')\nos.truncate(fd, 1 << 24)\nos.posix_fallocate(fd, 0, 1 << 24)\n"
        "print(flush=True)\ninput()\nkept = mmap.mmap(fd, 1 << 24)\nsum(kept[at] for at in range(0, 1 << 23, 4096))\n"
        "print(flush=True)\ninput()"
    )
    child = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    held = waiting_shared(child.pid)
    child.stdin.write(b"\n")
    child.stdin.flush()
    child.stdout.readline()
    mapped = waiting_shared(child.pid)
    child.communicate(b"\n")
    assert held == 1 << 24 and 0.45 * held < mapped < 0.55 * held
