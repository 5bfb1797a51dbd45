"""An image's code in memory, and its functions as Python calls them."""

import ctypes
import mmap
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from forebay.transforms.native.unfit import UnfitError

_C = ctypes.CDLL(None, use_errno=True)
_C.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_NDARRAY = ctypes.c_void_p(id(np.ndarray))
_SCALARS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "int64": (ctypes.c_int64, int),
    "uint64": (ctypes.c_uint64, int),
    "int32": (ctypes.c_int32, int),
    "uint32": (ctypes.c_uint32, int),
    "int16": (ctypes.c_int16, int),
    "uint16": (ctypes.c_uint16, int),
    "int8": (ctypes.c_int8, int),
    "uint8": (ctypes.c_uint8, int),
    "float64": (ctypes.c_double, float),
    "float32": (ctypes.c_float, float),
    "bool": (ctypes.c_bool, bool),
}


class MappedCode:
    """Code that can be run, as long as one of its functions is held.

    Raises:
        UnfitError: the system allows no such memory, or a function of the C library is missing.
    """

    def __init__(self, code: bytes, relative: list[tuple[int, int]], external: list[tuple[int, str]]) -> None:
        self._memory = mmap.mmap(-1, max(len(code), 1))
        self._memory[: len(code)] = code
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for place, offset in relative:
            struct.pack_into("<Q", self._memory, place, self.address + offset)
        for place, name in external:
            struct.pack_into("<Q", self._memory, place, _address_of(name))
        if _C.mprotect(self.address, len(self._memory), mmap.PROT_READ | mmap.PROT_EXEC):
            raise UnfitError(f"memory cannot be made executable: error {ctypes.get_errno()}")


class Address:
    """A function that kernels call by its address, which goes into tables: whoever makes these holds on to it."""

    def __init__(self, code: MappedCode, offset: int) -> None:
        self.address, self._code = code.address + offset, code


class Function:
    """A kernel. Its code checks the arrays that it is given, for each signature in turn; it runs without the interpreter's lock.

    Args:
        name: what it is called in errors.
        code: where it lies.
        signatures: (offset, kinds of the parameters: "array", or a scalar's type) of each.
        compiled: gives Numba's own function, which raises what a kernel raises.
    """

    def __init__(
        self, name: str, code: MappedCode, signatures: list[tuple[int, list[str]]], *, compiled: Callable[[], Any]
    ) -> None:
        self.__name__, self._code, self._compiled = name, code, compiled
        self._calls = []
        for offset, kinds in signatures:
            types = [ctypes.py_object if one == "array" else _SCALARS[one][0] for one in kinds]
            call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *types)(code.address + offset)
            scalars = [(at, _SCALARS[one][1]) for at, one in enumerate(kinds) if one != "array"]
            self._calls.append((call, scalars, len(kinds)))

    def __call__(self, *given: Any) -> None:
        for call, scalars, count in self._calls:
            if len(given) != count:
                break
            arguments = list(given)
            for at, convert in scalars:
                arguments[at] = convert(arguments[at])
            status = call(_NDARRAY, *arguments)
            if status == 0:
                return
            if status > 0:
                break
        self._refused(given)

    def _refused(self, given: tuple[Any, ...]) -> None:
        """Arrays of a class derived from NumPy's are taken as plain ones; for the rest Numba says what is wrong."""
        plain = tuple(one.view(np.ndarray) if isinstance(one, np.ndarray) else one for one in given)
        if any(one is not other for one, other in zip(given, plain, strict=True) if type(other) is not type(one)):
            return self(*plain)
        self._compiled()(*given)
        return None


def _address_of(name: str) -> int:
    try:
        return ctypes.cast(getattr(_C, name), ctypes.c_void_p).value or 0
    except AttributeError as error:
        raise UnfitError(f"{name} is not in the C library") from error
