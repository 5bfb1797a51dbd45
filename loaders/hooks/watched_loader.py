"""Watch a loader's own `__next__`, in place, whoever iterates it.

The object keeps its identity, its attributes and its `isinstance` answers: only its class is replaced, by a subclass
whose `__iter__` wraps the iterator. So a trainer that was handed the loader before, or that checks for `DataLoader`, is
served too. Time is taken around the raw `next()`, which is where the loop really waits.
"""

import copyreg
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from forebay.formats.errors import SpecError

_WATCHER = "_forebay_watchers"


class FetchWatcher(Protocol):
    """Told about the fetches of one loader."""

    def fetch(self, pull: Callable[[], Any]) -> Any:
        """Call `pull` once, return its batch, and let StopIteration and errors through."""


class _WatchedIterator:
    """An iterator whose `next` goes through the watchers. Other attributes are those of the iterator inside."""

    __slots__ = ("_inner", "_pull")

    def __init__(self, inner: Iterator[Any], watchers: tuple[FetchWatcher, ...]) -> None:
        self._inner = inner
        pull: Callable[[], Any] = inner.__next__
        for watcher in watchers:
            pull = functools.partial(watcher.fetch, pull)
        self._pull = pull

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._pull()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _new(cls: type, *args: Any) -> Any:
    return cls.__new__(cls, *args)


def _set_class(loader: Any, cls: type) -> None:
    # Not `loader.__class__ = cls`: accelerate's loaders have a property of this name, without a setter.
    object.__dict__["__class__"].__set__(loader, cls)


@functools.cache
def _watched_class(cls: type) -> type:
    def watched_iter(self: Any) -> Iterator[Any]:
        watchers = tuple(self.__dict__[_WATCHER])
        return _WatchedIterator(cls.__iter__(self), watchers)  # type: ignore[attr-defined]  # checked by watch_loader

    def unwatched_reduce(self: Any, protocol: Any) -> Any:
        # A pickle or a copy is of the class that the user wrote, and nobody watches it.
        rebuild, args, state, *rest = self_reduce(self, protocol)
        args = tuple(cls if arg is watched else arg for arg in args)
        if isinstance(state, dict):
            state = {key: value for key, value in state.items() if key != _WATCHER}
        # pickle insists that copyreg.__newobj__ makes the object's own class, so a function of ours stands in for it.
        return (_new if rebuild is copyreg.__newobj__ else rebuild, args, state, *rest)  # type: ignore[attr-defined]  # typeshed lacks copyreg.__newobj__

    self_reduce: Any = cls.__reduce_ex__
    body = {"__iter__": watched_iter, "__reduce_ex__": unwatched_reduce, "__module__": cls.__module__, "__slots__": ()}
    watched = type(cls)(cls.__name__, (cls,), body)
    watched.__qualname__ = cls.__qualname__
    return watched


def watch_loader(loader: Any, watcher: FetchWatcher) -> Callable[[], None]:
    """Route every fetch of `loader` through `watcher`, beside the watchers it already has.

    Returns:
        A function that takes the watcher off; after the last one the loader has its own class again.

    Raises:
        SpecError: the object cannot be iterated again and again, or its class cannot be replaced (a list, a generator).
    """
    watchers: list[FetchWatcher] | None = getattr(loader, "__dict__", {}).get(_WATCHER)
    if watchers is None:
        watchers = _start_watching(loader)
    watchers.append(watcher)

    def unwatch() -> None:
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers and _WATCHER in loader.__dict__:
            del loader.__dict__[_WATCHER]
            _set_class(loader, type(loader).__mro__[1])

    return unwatch


def watch_iterator(loader: Any, iterator: Iterator[Any]) -> Iterator[Any]:
    """Watch an iterator that a watched loader gave out before it was watched."""
    return _WatchedIterator(iterator, tuple(loader.__dict__[_WATCHER]))


def _start_watching(loader: Any) -> list[FetchWatcher]:
    cls = type(loader)
    kind = f"loader is a {cls.__module__}.{cls.__qualname__}"
    if not hasattr(cls, "__iter__") or not hasattr(loader, "__dict__"):
        raise SpecError(
            f"{kind}, which cannot be watched in place; expected an iterable object of a Python class, such as a "
            "torch.utils.data.DataLoader. Put your iterable into a small class with __iter__, or into a DataLoader"
        )
    watchers: list[FetchWatcher] = []
    loader.__dict__[_WATCHER] = watchers
    try:
        _set_class(loader, _watched_class(cls))  # type: ignore[arg-type]  # a class is hashable
    except TypeError as error:
        del loader.__dict__[_WATCHER]
        raise SpecError(f"{kind}, whose class cannot be replaced ({error}); wrap it in a DataLoader") from error
    return watchers
