"""A virtual environment for each peer, so that no peer's pins reach forebay's own environment or another peer's.

A peer's environment sees the packages of the one that forebay runs in (torch above all) behind its own: what a peer pins is
installed beside them, and only there. What does not install is kept with its reason, and is not tried again until `retry` is
asked for: `python -m forebay.bench.peer_env [NAME ...]` does that.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from forebay.bench.places import environments_home

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "main": (),
    "spdl": ("spdl", "opencv-python-headless"),
    "grain": ("grain", "opencv-python-headless"),
    "torchdata": ("torchdata", "opencv-python-headless"),
    "dali": ("nvidia-dali-cuda120",),
    "litdata": ("litdata", "opencv-python-headless"),
    "hf": ("datasets", "opencv-python-headless"),
    "datatrove": ("datatrove", "datasets"),
    "mosaic": ("mosaicml-streaming", "opencv-python-headless"),
    "webdataset": ("webdataset", "opencv-python-headless"),
    "ffcv": ("ffcv",),
    "ray": ("ray[data]", "opencv-python-headless"),
    "spark": ("pyspark", "pandas"),
}
"""Name of an environment -> what pip is asked for. "main" is the environment that forebay runs in."""

_KEPT = "forebay-bench.json"


@dataclass(frozen=True, slots=True)
class PeerEnvironment:
    """An environment, or why there is none."""

    name: str
    """Key of `REQUIREMENTS`."""
    python: str
    """Its interpreter; empty where there is a reason."""
    reason: str = ""
    """The last lines that pip wrote; empty where it installed."""


def peer_environment(name: str, *, retry: bool = False, timeout_s: float = 900) -> PeerEnvironment:
    """The environment of a peer, made now if it is not there yet."""
    if not REQUIREMENTS[name]:
        return PeerEnvironment(name, sys.executable)
    place = environments_home() / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}"
    python = str(place / "bin" / "python")
    kept = place / _KEPT
    wanted = {"requirements": list(REQUIREMENTS[name]), "base": _base_packages()}
    if kept.is_file():
        found = json.loads(kept.read_text())
        reason = found.pop("reason")
        if found == wanted and not (retry and reason):
            return PeerEnvironment(name, "" if reason else python, reason)
    reason = _make(place, python, REQUIREMENTS[name], timeout_s)
    kept.write_text(json.dumps({**wanted, "reason": reason}))
    return PeerEnvironment(name, "" if reason else python, reason)


def _base_packages() -> str:
    return sysconfig.get_paths()["purelib"]


def _make(place: Path, python: str, requirements: tuple[str, ...], timeout_s: float) -> str:
    """Create and fill an environment; the reason for which it did not install, or nothing."""
    venv.create(place, with_pip=False, clear=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    # addsitedir, not a bare path: the base's own .pth files count too (an editable forebay is one)
    (packages / "zz_base.pth").write_text(f"import site; site.addsitedir({_base_packages()!r})\n")
    command = [python, "-m", "pip", "install", "--quiet", *_torch_as_it_is(place), *requirements]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"pip took longer than {timeout_s:.0f} s"
    return "" if ended.returncode == 0 else _last_lines(ended.stderr or ended.stdout)


def _torch_as_it_is(place: Path) -> list[str]:
    """Every environment runs the same torch: a peer that wants another one does not install, and says so."""
    constraints = place / "constraints.txt"
    constraints.write_text(f"torch=={version('torch')}\n")
    known = os.environ.get("PIP_CONSTRAINT")
    return ["-c", str(constraints), *(["-c", known] if known else [])]


def _last_lines(text: str) -> str:
    """What went wrong, out of what pip wrote: the errors that name something, else the end."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and "warning" not in line.lower()]
    named = [line for line in lines if re.match(r"(\w*Error|ERROR|error): .*\S", line) and "subprocess" not in line]
    return " / ".join(dict.fromkeys(named[-3:] or lines[-4:]))[:600] or "pip failed without a word"


def main(names: list[str] | None = None) -> None:
    """Make the environments that are named, or all of them, and print what came of it."""
    for name in names or list(REQUIREMENTS):
        made = peer_environment(name, retry=True)
        sys.stdout.write(f"{name}: {made.python or 'does not install: ' + made.reason}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
