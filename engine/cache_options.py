"""What a user asks of a cache: where, how much, in what form."""

import os
from dataclasses import dataclass

from forebay.engine.cache_unit import Compression
from forebay.engine.memory import parse_bytes
from forebay.formats.errors import SpecError


def default_directory() -> str:
    """`$FOREBAY_CACHE`, else `forebay` in the user's cache directory."""
    named = os.environ.get("FOREBAY_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.abspath(named or os.path.join(home, "forebay"))


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheOptions:
    """Where results are kept, and how much of them."""

    dir: str | None = None
    """Directory; None: `$FOREBAY_CACHE`, else `~/.cache/forebay`. Several data sets may share one."""
    limit: str | int = "200GB"
    """Most bytes of all units in the directory together."""
    compression: Compression = None
    """None keeps units raw, so that reading copies nothing; "lz4" where the disk is the bottleneck."""
    patience: float = 600.0
    """Seconds to wait for another process that computes the same unit, before computing it here as well."""

    def __post_init__(self) -> None:
        if self.compression not in (None, "lz4"):
            raise SpecError(f"compression is {self.compression!r}; expected None or 'lz4'")
        if not self.limit_bytes > 0:
            raise SpecError(f"limit is {self.limit!r}; expected a size above 0, such as 200GB")
        if self.patience < 0:
            raise SpecError(f"patience is {self.patience}; expected seconds, 0 or more")

    @property
    def limit_bytes(self) -> int:
        return parse_bytes(self.limit) or 0

    @property
    def directory(self) -> str:
        return os.path.abspath(self.dir) if self.dir else default_directory()
