"""Where the suite keeps what it makes: data sets and the peers' environments, outside the repository."""

import os
from pathlib import Path


def home() -> Path:
    """The suite's directory: `$FOREBAY_BENCH_HOME`, else `~/.cache/forebay-bench`."""
    set_by_user = os.environ.get("FOREBAY_BENCH_HOME")
    return Path(set_by_user) if set_by_user else Path.home() / ".cache" / "forebay-bench"


def data_home() -> Path:
    """Directory of generated data sets."""
    return home() / "data"


def environments_home() -> Path:
    """Directory of the peers' virtual environments."""
    return home() / "envs"
