"""The machine, the versions and the load under which figures were taken: without them a figure says little."""

import importlib.metadata
import os
import platform
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

from forebay.bench.peer_env import REQUIREMENTS, PeerEnvironment

_OURS = ("numpy", "numba", "pyarrow", "polars", "torch", "simplejpeg", "pillow", "pandas")


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    from forebay import __version__

    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "forebay": __version__,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _OURS if (found := _version(name, None))},
        "load_average": list(os.getloadavg()),
    }


def peer_versions(environment: PeerEnvironment) -> dict[str, str]:
    """Versions of what an environment was made for."""
    if environment.reason or environment.name == "main":
        return {}
    place = Path(environment.python).parent.parent
    packages = sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)})
    wanted = [one.split("[")[0] for one in REQUIREMENTS[environment.name]]
    found = ((name, _version(name, packages) or _version(name, None)) for name in wanted)
    return {name: version for name, version in found if version}


def _version(name: str, packages: str | None) -> str:
    if packages is None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return ""
    found = importlib.metadata.distributions(name=name, path=[packages])
    return next((one.version for one in found), "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or sys.platform
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
