"""Kernels by the name of their module: loaded when one of them is first used, and without Numba where their image is there.

Numba takes time and memory to import (`python -m forebay.bench.footprint`), and more for each kernel from its cache. So what it
compiled is kept as an image (`forebay.transforms.native`), and only a process that finds none for its processor and versions
imports Numba; that process writes the image for the next one.
"""

import importlib
import logging
import threading
from functools import cache, partial
from types import ModuleType
from typing import Any

from forebay.transforms.native import image
from forebay.transforms.native.mapped import Address, Function, MappedCode
from forebay.transforms.native.unfit import UnfitError

_LOG = logging.getLogger(__name__)
_LOCK = threading.RLock()


class KernelModule:
    """Stands for `forebay.transforms.kernels.<name>`: its kernels and constants are attributes."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self._loaded = False

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") or attribute == "_loaded":
            raise AttributeError(attribute)
        with _LOCK:
            if not self._loaded:
                self.__dict__.update(_found(self.__name__))
                self._loaded = True
        found = self.__dict__.get(attribute)
        if found is None:  # a kernel that no image can hold
            found = self.__dict__[attribute] = getattr(_numba_module(self.__name__), attribute)
        return found


@cache
def kernels(name: str) -> Any:
    """The kernels of module `name` of `forebay.transforms.kernels`."""
    return KernelModule(name)


def get_ready() -> None:
    """Find out which images fit this machine, at the top of a script: it takes as long as a batch, which would wait for it."""
    if image.supported():
        image.machine()


def compile_all(name: str) -> None:
    """Compile a module's kernels, or load them from Numba's cache, and write its image."""
    _keep_image(name, _numba_module(name))


def _found(name: str) -> dict[str, Any]:
    """What a kernel module has, from its image or from Numba."""
    if not image.supported():
        return vars(_numba_module(name))
    kept = image.read(name)
    if kept is not None:
        try:
            return _mapped(name, *kept)
        except UnfitError as error:
            _LOG.debug("the image of kernels %s cannot be used: %s", name, error)
            return vars(_numba_module(name))
    module = _numba_module(name)
    _keep_image(name, module)
    return vars(module)


def _mapped(name: str, header: dict[str, Any], code: bytes) -> dict[str, Any]:
    mapped = MappedCode(code, header["relative"], header["external"])
    found: dict[str, Any] = dict(header["constants"])
    for function, signatures in header["functions"].items():
        compiled = partial(_from_numba, name, function)
        found[function] = Function(function, mapped, signatures, compiled=compiled)
    for function, offset in header["addresses"].items():
        found[function] = Address(mapped, offset)
    return found


def _keep_image(name: str, module: ModuleType) -> None:
    if not image.supported():
        return
    from forebay.transforms.native.from_numba import image_of

    try:
        image.write(name, *image_of(module))
    except Exception as error:  # noqa: BLE001 - Numba's inside may have changed in any way; without an image all works, later
        _LOG.debug("no image of kernels %s: %s: %s", name, type(error).__name__, error)


def _from_numba(name: str, function: str) -> Any:
    return getattr(_numba_module(name), function)


def _numba_module(name: str) -> ModuleType:
    return importlib.import_module(f"forebay.transforms.kernels.{name}")
