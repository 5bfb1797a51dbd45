"""Opening units: one that is bad or unreadable is as if it were not there, and is told of."""

import errno
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from forebay.engine.cache_counters import Counters
from forebay.engine.cache_files import CacheFiles
from forebay.engine.cache_unit import Unit, open_unit
from forebay.engine.cache_write_behind import WriteBehind
from forebay.formats.errors import CorruptError, StorageError


@dataclass(frozen=True, slots=True)
class UnitOpener:
    """Opens the units of one cache. Thread-safe."""

    files: CacheFiles
    counters: Counters
    behind: WriteBehind
    label: str

    def open(self, key: str, right: Callable[[Unit], bool]) -> Unit | None:
        """The unit, if `right` says of its bytes that they are; one that is on its way is, since it was written here.

        Raises:
            StorageError: it cannot be opened, for another reason than that it is not there or may not be read.
        """
        coming = self.behind.coming(key)
        if coming is not None:
            return coming
        path = self.files.unit(key)
        try:
            unit = open_unit(path)
            if unit is None or (unit.info.key == key and right(unit)):
                return unit
            raise CorruptError(f"{path}: its bytes do not hash to their checksums, or it is another's unit")
        except CorruptError as error:
            self._drop_bad(path, error)
        except PermissionError as error:
            _warn(f"cache unit cannot be read ({error}); its result is computed instead")
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise StorageError(
                    f"{path}: too many open files; each cache unit in use holds one: raise the limit (ulimit -n)"
                ) from error
            raise StorageError(f"{path}: {error.strerror}") from error
        return None

    def _drop_bad(self, path: str, error: CorruptError) -> None:
        self.counters.count(self.label, bad=1)
        _warn(f"{error}; the unit is dropped and built anew (check the disk if this comes again)")
        with suppress(OSError):  # gone already, or in a read-only directory: then each read computes instead
            os.unlink(path)


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
