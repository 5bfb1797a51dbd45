"""From a path, directory, glob or list of these to the files they mean."""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Sequence

from forebay.formats.errors import SourceError, SpecError
from forebay.formats.store import Store, store_for, without_secrets

_GLOB = re.compile(r"[*?\[]")
_ASIDE = frozenset({"manifest.json", "report.json", "quarantine.parquet"})

Wanted = Callable[[str], bool]
"""Which files of a directory are data, by their path."""


def expand(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, wanted: Wanted | None = None
) -> tuple[Store, list[str]]:
    """The files that a path, directory, glob or list of these names, in sorted order (a list keeps its own order).

    Files beside data that are none (hidden, with a leading `_`, a manifest, a quarantine) are left out of directories
    and globs; so is what `wanted` refuses in a directory.

    Raises:
        SourceError: nothing matches, or a directory is empty.
        SpecError: the paths lie in different stores, or something is no path.
    """
    given = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str | os.PathLike) else [paths]
    if wrong := [one for one in given if not isinstance(one, str | os.PathLike)]:
        raise SpecError(f"a path is {wrong[0]!r}; expected a file, a directory, a glob, a URL, or a list of these")
    if not given:
        raise SourceError("no paths were given; expected a file, a directory, a glob such as data/*.parquet, or a list")
    stores: dict[str, Store] = {}
    found: list[str] = []
    for one in given:
        store, inner = _store(os.fspath(one), stores)
        found.extend(_expand_one(store, inner, without_secrets(os.fspath(one)), wanted))
    if any(not store.files.equals(next(iter(stores.values())).files) for store in stores.values()):
        raise SpecError("the paths lie in different stores; scan each on its own")
    return next(iter(stores.values())), found


def _store(path: str, stores: dict[str, Store]) -> tuple[Store, str]:
    """The same store for all paths of one kind: making one for S3 asks the network for the bucket's region."""
    scheme, mark, rest = path.partition("://")
    key = f"{scheme}://{rest.partition('/')[0]}" if mark else ""
    known = stores.get(key)
    if known is not None and not mark:
        return known, os.path.abspath(path)
    if known is not None and known.root and path.startswith(known.root) and not re.search(r"[?%]", path):
        return known, path.removeprefix(known.root).rstrip("/")
    place, pattern = _without_pattern(path) if mark else (path, "")
    store, inner = store_for(place)
    stores.setdefault(key, store)
    return store, inner + pattern


def _without_pattern(url: str) -> tuple[str, str]:
    """(URL of the directory above the first * or [, the rest of the path): a URL holds no brackets. ? begins options."""
    path, mark, options = url.partition("?")
    found = re.search(r"[*\[]", path)
    if found is None:
        return url, ""
    at = path.rindex("/", 0, found.start())
    return path[:at] + mark + options, path[at:]


def _expand_one(store: Store, path: str, shown: str, wanted: Wanted | None) -> list[str]:
    if _GLOB.search(path) and not store.exists(path):
        return _glob(store, path, shown)
    if not store.is_directory(path):
        store.info(path)  # says so when it is not there
        return [path]
    directory = path.rstrip("/")
    inside = [one.path for one in store.list(directory) if not _aside(one.path, directory)]
    if not inside:
        raise SourceError(f"{shown}: the directory holds no files")
    data = [one for one in inside if wanted is None or wanted(one)]
    if not data:
        raise SourceError(
            f"{shown}: the directory holds no file that can be read; the first of {len(inside)} is {inside[0]}"
        )
    return data


def _glob(store: Store, pattern: str, shown: str) -> list[str]:
    fixed = pattern[: _GLOB.search(pattern).start()]  # type: ignore[union-attr]  # the caller found a match
    head = fixed.rpartition("/")[0] or "/"
    deeper = "/" in pattern[len(head) :].strip("/")
    known = store.list(head, recursive=deeper) if store.exists(head) else []
    matched = [one.path for one in known if _matches(one.path, pattern)]
    if not matched:
        raise SourceError(f"{shown}: no file matches")
    # `prepared/*.parquet` does not mean the quarantine; a pattern that matches nothing else does
    return [one for one in matched if not _aside(one, head)] or matched


def _matches(path: str, pattern: str) -> bool:
    # a * stays within one directory, as in a shell; ** goes deeper
    parts, wanted = path.split("/"), pattern.split("/")
    if "**" in wanted:
        at = wanted.index("**")
        tail = wanted[at + 1 :]
        long_enough = len(parts) >= at + len(tail)
        return long_enough and _each(parts[:at], wanted[:at]) and _each(parts[len(parts) - len(tail) :], tail)
    return len(parts) == len(wanted) and _each(parts, wanted)


def _each(parts: list[str], wanted: list[str]) -> bool:
    return all(fnmatch.fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))


def _aside(path: str, directory: str) -> bool:
    """Files that stand beside data without being data: what this program and others write there."""
    *folders, name = path[len(directory) :].strip("/").split("/")
    return name.startswith("_") or name in _ASIDE or any(one == "state" or one.startswith("_") for one in folders)
