"""`forebay doctor`: is this machine ready?"""

import importlib
import importlib.util
import logging
import os
import resource
import shutil
import sys
from importlib import metadata
from typing import Annotated

import typer

from forebay.cli.console import say, say_json

_CORE = ("numpy", "numba", "pyarrow", "polars", "torch", "zstandard", "xxhash")
_EXTRAS = {
    "simplejpeg": "image",
    "PIL": "image",
    "ftfy": "text",
    "fsspec": "remote",
    "torchao": "hooks",
    "lightning": "lightning",
}
_SHM_WANTED = 1 << 30
_FILES_WANTED = 1024


def doctor(
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile all kernels now, so that first uses start at once.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check packages, shared memory, file limits and the kernel cache; with --warm compile every kernel.

    Exit code 1 when something that forebay needs is missing.

    Example: forebay doctor --warm
    """
    checks = [*_packages(), _shared_memory(), _open_files(), _kernel_cache()]
    if warm:
        checks.append(_warm(quiet=as_json))
    if as_json:
        say_json([{"name": name, "ok": ok, "detail": detail} for name, ok, detail in checks])
    else:
        for name, ok, detail in checks:
            say(f"{'ok  ' if ok else 'LOOK'}  {name}: {detail}")
    if any(not ok and name in _CORE for name, ok, _ in checks):
        raise typer.Exit(1)


def _packages() -> list[tuple[str, bool, str]]:
    found = [("python", sys.version_info >= (3, 11), sys.version.split()[0])]
    for name in _CORE:
        try:
            importlib.import_module(name)
            found.append((name, True, metadata.version(name)))
        except ImportError as error:
            found.append((name, False, f"cannot be imported: {error}"))
    for name, extra in _EXTRAS.items():
        there = importlib.util.find_spec(name) is not None
        found.append((name, True, "installed" if there else f"not installed (pip install 'forebay[{extra}]')"))
    return found


def _shared_memory() -> tuple[str, bool, str]:
    if not os.path.isdir("/dev/shm"):
        return "/dev/shm", False, "not there: worker processes fall back to torch's own transport"
    free = shutil.disk_usage("/dev/shm").free
    hint = "" if free >= _SHM_WANTED else "; less than 1 GB: in a container start it with --shm-size=2g"
    return "/dev/shm", free >= _SHM_WANTED, f"{free / 1e9:.1f} GB free{hint}"


def _open_files() -> tuple[str, bool, str]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    hint = "" if soft >= _FILES_WANTED else f"; fewer than {_FILES_WANTED}: ulimit -n {_FILES_WANTED}"
    return "open files", soft >= _FILES_WANTED, f"limit {soft}{hint}"


def _kernel_cache() -> tuple[str, bool, str]:
    path = os.environ.get("NUMBA_CACHE_DIR") or os.path.dirname(
        importlib.import_module("forebay.transforms.kernels").__file__ or "."
    )
    writable = os.access(path, os.W_OK) or not os.path.exists(path)
    return (
        "kernel cache",
        writable,
        path if writable else f"{path} is not writable: set NUMBA_CACHE_DIR, or each start compiles",
    )


def _warm(*, quiet: bool) -> tuple[str, bool, str]:
    import pkgutil
    import time

    from rich.console import Console
    from rich.progress import track

    from forebay.transforms.compiled import compile_all

    package = importlib.import_module("forebay.transforms.kernels")
    names = [one.name for one in pkgutil.iter_modules(package.__path__)]
    console = Console(stderr=True)
    logging.getLogger(package.__name__).setLevel(logging.ERROR)  # the bar says it
    start = time.perf_counter()
    for name in track(
        names, "compiling kernels", console=console, transient=True, disable=quiet or not console.is_terminal
    ):
        begun = time.perf_counter()
        compile_all(name)
        took = time.perf_counter() - begun
        if took > 1 and not quiet and not console.is_terminal:  # where there is no bar
            console.print(f"compiled {name} in {took:.1f} s")
    return "kernels", True, f"{len(names)} modules ready after {time.perf_counter() - start:.1f} s"
