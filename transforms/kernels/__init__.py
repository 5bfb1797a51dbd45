"""Compiled kernels. Their signatures are explicit, so importing a module compiles it, or loads it from Numba's cache.

With a cold cache that takes a while, so a process that has compiled for a second says once why it is slow.
"""

import logging
import time
from typing import Any

from numba.core import event

_LOG = logging.getLogger(__name__)
_PATIENCE = 1.0
"""Seconds of compiling before anything is said."""


class CompilingNotice(event.Listener):  # numba's own base class
    """Adds up the time that the compiler passes of our kernels take; Numba loads from its cache without any."""

    def __init__(self) -> None:
        self._depth, self._since, self._spent, self._said = 0, 0.0, 0.0, False

    def on_start(self, event: Any) -> None:
        if self._said or not str(event.data["module"]).startswith(__name__):
            return
        now = time.perf_counter()
        self._since = now if self._depth == 0 else self._since
        self._depth += 1
        self._say(now)

    def on_end(self, event: Any) -> None:
        if self._said or self._depth == 0 or not str(event.data["module"]).startswith(__name__):
            return
        now = time.perf_counter()
        self._depth -= 1
        if self._depth == 0:
            self._spent, self._since = self._spent + now - self._since, now
        self._say(now)

    def _say(self, now: float) -> None:
        if self._spent + (now - self._since if self._depth else 0.0) > _PATIENCE:
            self._said = True
            _LOG.warning(
                "forebay compiles its kernels, once for this machine and version (about a minute for all of them); "
                "`forebay doctor --warm` does it beforehand"
            )


event.register("numba:run_pass", CompilingNotice())
