"""Watching a run: its memory outside the timed part, its last word, its end."""

import os
import sys
import time

from forebay.bench.measure import run_watched

SAY = "import json, sys, time\ndef say(event): print(json.dumps({'event': event}), flush=True)\n"


def watched(code, timeout_s=30.0):
    return run_watched([sys.executable, "-c", SAY + code], timeout_s=timeout_s)


def test_memory_is_looked_at_before_and_after_the_timed_part_only():
    timed = (
        "say('clock')\nheld = b'x' * 400_000_000\ntime.sleep(0.5)\ndel held\nkept = b'x' * 100_000_000\nsay('stopped')\n"
        "assert sys.stdin.readline() == 'seen\\n'\nsay('done')\n"
    )
    found = watched(timed)
    assert found.ok
    assert 100_000_000 < found.peak_pss < 300_000_000
    assert watched("held = b'x' * 400_000_000\ntime.sleep(1)\nsay('clock')\nsay('done')\n").peak_pss > 400_000_000


def test_a_run_that_takes_too_long_is_ended_with_its_children():
    code = (
        "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
        "sys.stderr.write(str(child.pid))\nsys.stderr.flush()\ntime.sleep(60)"
    )
    found = watched(code, timeout_s=2.0)
    assert found.message == {"event": "failed", "reason": "took longer than 2 s"}
    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{found.log}") and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{found.log}")


def test_a_run_that_ends_without_a_word_is_told_with_its_exit_code():
    assert watched("print('{no json'); sys.exit(3)").message["reason"] == "ended without a word, exit code 3"
