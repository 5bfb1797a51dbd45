"""Kernel images: one file for each kernel module, with its compiled code, its functions and its constants.

A file is named after all that the code depends on beside its source: processor, Numba, LLVM, NumPy, Python. What it says of the
source must still be so. Whatever is amiss with a file is as if it were not there: Numba then does the work.
"""

import contextlib
import hashlib
import json
import os
import platform
import struct
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"forebay kernel image 1\n"
_KERNELS = Path(__file__).resolve().parent.parent / "kernels"
_SETTINGS = (
    "CPU_NAME",
    "CPU_FEATURES",
    "OPT",
    "ENABLE_AVX",
    "BOUNDSCHECK",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "DEBUGINFO",
)
"""Of Numba's settings those that change what it compiles."""


def supported() -> bool:
    """Whether images are made for this machine: Linux on x86-64, and kernels are to be compiled at all."""
    linux = sys.platform == "linux" and platform.machine() == "x86_64"
    return linux and sys.implementation.name == "cpython" and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def read(name: str) -> tuple[dict[str, Any], bytes] | None:
    """Header and code of a module's image; None where there is none that is whole and up to date."""
    for directory in _directories():
        with contextlib.suppress(OSError, ValueError, struct.error):
            data = (directory / _file(name)).read_bytes()
            body, digest = data[:-32], data[-32:]
            if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
                continue
            (size,) = struct.unpack_from("<I", body, len(MAGIC))
            start = len(MAGIC) + 4
            header = json.loads(body[start : start + size])
            if header["source"] == _source(name):
                return header, body[start + size :]
    return None


def write(name: str, header: dict[str, Any], code: bytes) -> Path | None:
    """Keep an image, whole or not at all; None where no directory can be written to."""
    text = json.dumps({**header, "source": _source(name)}).encode()
    body = MAGIC + struct.pack("<I", len(text)) + text + code
    for directory in _directories():
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            descriptor, path = tempfile.mkstemp(dir=directory)
            try:
                os.fchmod(descriptor, 0o644)  # whoever may use the library may use its image
                with os.fdopen(descriptor, "wb") as file:
                    file.write(body + hashlib.sha256(body).digest())
                Path(path).replace(directory / _file(name))
            except OSError:
                Path(path).unlink(missing_ok=True)
                raise
            return directory / _file(name)
    return None


def _directories() -> list[Path]:
    """Where images are looked for and kept: where Numba has its cache, else the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [Path(given) / "forebay-images"] if given else [_KERNELS / "__pycache__", home / "forebay" / "kernels"]


def _file(name: str) -> str:
    return f"{name}.{machine()}.image"


def _source(name: str) -> list[int]:
    found = os.stat(_KERNELS / f"{name}.py")
    return [found.st_mtime_ns, found.st_size]


@cache
def machine() -> str:
    """16 hex digits for what the code depends on beside its source."""
    settings = [os.environ.get(f"NUMBA_{one}", "") for one in _SETTINGS]
    parts = [sys.version, np.__version__, *_processor(), *settings, *(_library(one) for one in ("numba", "llvmlite"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _library(name: str) -> str:
    """A library's files, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return f"{name} is missing"
    version = Path(spec.origin).with_name("_version.py")
    found = version.stat()
    return f"{version} {found.st_mtime_ns} {found.st_size}"


def _processor() -> list[str]:
    """Model and features of the first processor."""
    with open("/proc/cpuinfo") as file:
        found = []
        for line in file:
            if line.startswith(("vendor_id", "cpu family", "model", "flags")):
                found.append(line.strip())
            if not line.strip():
                break
    return found
