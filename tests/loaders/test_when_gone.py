"""A call comes once, with its arguments, when the last reference is gone, and never at the interpreter's end."""

import gc
import subprocess
import sys
import weakref

import numpy as np

from forebay.loaders.when_gone import _WATCHES, when_gone


def test_a_call_comes_when_the_last_view_is_gone_and_leaves_nothing_behind() -> None:
    seen: list[tuple[int, str]] = []
    lease, before = np.frombuffer(bytearray(8), np.uint8), len(_WATCHES)
    when_gone(lease, lambda number, name: seen.append((number, name)), 3, "slot")
    view = lease[2:][::2]
    del lease
    assert not seen and len(_WATCHES) == before + 1
    del view
    assert seen == [(3, "slot")] and len(_WATCHES) == before


class Watcher:
    def __init__(self) -> None:
        self.seen = 0

    def ended(self) -> None:
        self.seen += 1


def test_who_watches_is_kept_until_then() -> None:
    watcher, lease = Watcher(), np.frombuffer(bytearray(8), np.uint8)
    alive = weakref.ref(watcher)
    when_gone(lease, watcher.ended)
    del watcher
    gc.collect()
    kept = alive()
    assert kept is not None
    del lease
    assert kept.seen == 1
    del kept
    gc.collect()
    assert alive() is None


AT_THE_END = """
import numpy as np
from forebay.loaders.when_gone import when_gone
lease = np.frombuffer(bytearray(8), np.uint8)
when_gone(lease, print, "called")
"""


def test_no_call_comes_at_the_interpreters_end() -> None:
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
