"""What all tests share: how hypothesis judges, who compiles the kernels, and a server for those that ask for one."""

import fcntl
import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.remote_fixtures import prepared as prepared
from support.remote_fixtures import proxy as proxy
from support.remote_fixtures import server as server

# Values are judged, never time: machines are shared, and speed is measured in bench/.
settings.register_profile("forebay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forebay")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Where tests run side by side, each process compiles a part of the kernels, and finds those of the others compiled.

    All of them import the same modules at the same time, so that each would compile them all.
    """
    shared = getattr(session.config, "workerinput", None)
    if shared is None:
        return
    import forebay.transforms.kernels as package
    from forebay.transforms.compiled import compile_all

    logging.getLogger(package.__name__).setLevel(logging.ERROR)  # not a word about compiling in the middle of the dots
    paths = sorted(Path(package.__path__[0]).glob("[a-z]*.py"), key=lambda one: one.stat().st_size)
    first = len(paths) * int(shared["workerid"].removeprefix("gw")) // shared["workercount"]
    for path in paths[first:] + paths[:first]:
        with open(path, "rb") as source:
            fcntl.flock(source, fcntl.LOCK_EX)
            compile_all(path.stem)
