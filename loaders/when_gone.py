"""Calls when an object is gone. `weakref.finalize` does the same and more, in several times the time."""

import sys
import weakref
from collections.abc import Callable
from typing import Any


class _Watch(weakref.ref[Any]):
    __slots__ = ("arguments", "call")
    call: Callable[..., None]
    arguments: tuple[Any, ...]


_WATCHES: dict[int, _Watch] = {}
"""Those whose objects are there. Here and not with whoever watches, who is kept until then: memory may have to wait for a
device there."""


def when_gone(watched: Any, call: Callable[..., None], *arguments: Any) -> None:
    """`call(*arguments)` when `watched` is gone, in whatever thread drops it; not at the interpreter's end."""
    watch = _Watch(watched, _gone)
    watch.call, watch.arguments = call, arguments
    _WATCHES[id(watch)] = watch


def _gone(watch: _Watch) -> None:
    if sys.is_finalizing():
        return
    del _WATCHES[id(watch)]
    watch.call(*watch.arguments)
