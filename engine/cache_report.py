"""What is in a cache directory, and the work of `forebay cache`: list, prune, clear, verify."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from forebay.engine.cache_counters import Counts, read_counters
from forebay.engine.cache_eviction import choose_victims
from forebay.engine.cache_files import CacheFiles
from forebay.engine.cache_unit import open_unit
from forebay.formats.errors import CorruptError, SpecError, UnknownNameError

UNREADABLE = "(unreadable; `forebay cache verify` names them)"
"""In the place of a label: units that do not say whose they are."""

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(slots=True)
class LabelReport:
    """The units of one label."""

    label: str
    units: int = 0
    nbytes: int = 0
    oldest_ns: int = 0
    """Time of its oldest unit; 0 when it has none."""
    used_ns: int = 0
    """Time of its last use."""
    counts: Counts = field(default_factory=Counts)


def list_cache(directory: str) -> list[LabelReport]:
    """The labels of a cache, the largest first; a label whose units are all gone is there for its counts."""
    reports = {label: LabelReport(label, counts=counts) for label, counts in read_counters(directory).items()}
    for key, size, used_ns in _units(directory):
        try:
            unit = open_unit(CacheFiles(directory).unit(key))
        except CorruptError:
            label, created_ns = UNREADABLE, used_ns
        else:
            if unit is None:
                continue
            label, created_ns = unit.info.label, unit.info.created_ns
        report = reports.setdefault(label, LabelReport(label))
        report.units += 1
        report.nbytes += size
        report.used_ns = max(report.used_ns, used_ns)
        report.oldest_ns = min(report.oldest_ns or created_ns, created_ns)
    return sorted(reports.values(), key=lambda one: (-one.nbytes, one.label))


@dataclass(frozen=True, slots=True)
class Removal:
    """What `prune` and `clear` took away."""

    units: int
    nbytes: int
    leased: int
    """Units that stayed because somebody uses them."""
    swept: int
    """Temporary files of killed processes."""


def prune_cache(directory: str, *, limit_bytes: int | None = None, older_than: float | None = None) -> Removal:
    """Take away the least recently used units until the rest fits, and all those unused for `older_than` seconds.

    Raises:
        SpecError: neither is given.
    """
    if limit_bytes is None and older_than is None:
        raise SpecError("nothing says what to prune: give a size to shrink to, an age, or both")
    files = CacheFiles(directory)
    residents = files.residents()
    chosen = {}
    if older_than is not None:
        before = time.time_ns() - int(older_than * 1e9)
        chosen = {one.key: one for one in residents if one.used_ns < before}
    if limit_bytes is not None:
        rest = [one for one in residents if one.key not in chosen]
        over = sum(one.nbytes for one in rest) - limit_bytes
        if over > 0:
            chosen |= {one.key: one for one in choose_victims(rest, over) or rest}
    return _remove(files, {one.key: one.nbytes for one in chosen.values()})


def clear_cache(directory: str, *, label: str | None = None) -> Removal:
    """Take away all units, or those of one label; what is in use stays.

    Raises:
        UnknownNameError: the cache knows no such label.
    """
    files = CacheFiles(directory)
    sizes = {one.key: one.nbytes for one in files.residents()}
    if label is not None:
        labels = {one.label for one in list_cache(directory)}
        if label not in labels:
            raise UnknownNameError.of("label", label, labels, where=directory)
        sizes = {key: size for key, size in sizes.items() if _label(files, key) == label}
    return _remove(files, sizes)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found."""

    units: int
    nbytes: int
    bad: tuple[str, ...]
    """A message for each bad unit."""


def verify_cache(directory: str, *, remove: bool = False, progress: Progress | None = None) -> Verdict:
    """Hash every unit; with `remove`, take bad ones away, so that they are built anew when they are asked for."""
    files, bad, count, total = CacheFiles(directory), [], 0, 0
    units = list(_units(directory))
    whole = sum(size for _, size, _ in units)
    for key, size, used_ns in units:
        path = files.unit(key)
        message = _fault(path, key)
        count, total = count + 1, total + size
        if progress:
            progress(total, whole)
        with suppress(OSError):  # a check is not a use
            os.utime(path, ns=(used_ns, os.stat(path).st_mtime_ns))
        if message:
            bad.append(message)
            if remove:
                with suppress(OSError):
                    os.unlink(path)
    return Verdict(count, total, tuple(bad))


def _fault(path: str, key: str) -> str:
    try:
        unit = open_unit(path)
    except CorruptError as error:
        return str(error)
    if unit is not None and not (unit.info.key == key and unit.intact()):
        return f"{path}: its bytes do not hash to their checksums"
    return ""


def _units(directory: str) -> Iterator[tuple[str, int, int]]:
    for one in CacheFiles(directory).residents():
        yield one.key, one.nbytes, one.used_ns


def _label(files: CacheFiles, key: str) -> str | None:
    try:
        unit = open_unit(files.unit(key))
    except CorruptError:
        return None
    return unit.info.label if unit else None


def _remove(files: CacheFiles, sizes: dict[str, int]) -> Removal:
    gone = [key for key in sizes if files.evict(key)]
    return Removal(len(gone), sum(sizes[key] for key in gone), len(sizes) - len(gone), files.sweep())
