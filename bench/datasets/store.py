"""Data sets are made once, whole or not at all, and found again by name."""

import shutil
from collections.abc import Callable
from pathlib import Path

from forebay.bench.places import data_home


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The directory of data set `name`, filled by `make` if it is not there."""
    target = data_home() / name
    if (target / "done").exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    make(target)
    (target / "done").touch()
    return target
