"""Relocatable ELF objects for x86-64, as LLVM makes them for Numba: the code that a function needs, put in one piece.

Numba compiles for the large code model, where each address stands in full (R_X86_64_64), so that nothing but sums is to be done.
Format: "System V Application Binary Interface", and its AMD64 supplement, 4.4 (relocation).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from forebay.transforms.native.unfit import UnfitError

_SECTION, _SYMBOL, _RELOCATION = "<IIQQQQIIQQ", "<IBBHQQ", "<QQq"
_PROGBITS, _RELA, _ABSOLUTE_64 = 1, 4, 1
_ALIGN = 64


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    section: int
    value: int
    size: int


@dataclass(slots=True)
class Code:
    """Sections of some objects behind one another, with what is to be filled in once it is known where they lie."""

    data: bytearray = field(default_factory=bytearray)
    relative: list[tuple[int, int]] = field(default_factory=list)
    """(place, offset): the address of `offset` in this code goes to `place`."""
    external: list[tuple[int, str]] = field(default_factory=list)
    """(place, name): the address of a function of the C library."""
    symbols: dict[str, int] = field(default_factory=dict)
    """Global functions -> offset."""

    def append(self, data: bytes) -> int:
        """Add bytes at the next cache line; returns their offset."""
        self.data += bytes(-len(self.data) % _ALIGN)
        at = len(self.data)
        self.data += data
        return at


class Object:
    """One relocatable object.

    Raises:
        UnfitError: it is not one for x86-64.
    """

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", data, 16) != (1, 62):
            raise UnfitError("not a relocatable object for x86-64")
        self._data = data
        at, count, names = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 60)
        self._sections = [struct.unpack_from(_SECTION, data, at + 64 * number) for number in range(count)]
        self._names = names
        self._symbols: list[_Symbol] = []
        self._relocations: dict[int, list[tuple[int, int, int, int]]] = {}
        """Section -> (place in it, kind, symbol, addend)."""
        for section in self._sections:
            if section[1] == _RELA:
                self._read_relocations(section)

    def link(self, roots: Iterable[str], code: Code, *, allowed: frozenset[str], never: frozenset[str]) -> None:
        """Add the functions `roots`, and all that they call or read, to `code`.

        Args:
            roots: names of functions in this object.
            code: what to add to; its `symbols` are found by name, too.
            allowed: functions of the C library that may be called.
            never: functions that are named but cannot be reached; an address of theirs traps.

        Raises:
            UnfitError: they need anything else.
        """
        wanted = frozenset(roots)
        needed = self._reachable(wanted)
        bases = {one: code.append(self._bytes(one)) for one in sorted({section for section, _ in needed})}
        for symbol in self._symbols:
            if symbol.name in wanted:
                code.symbols[symbol.name] = bases[symbol.section] + symbol.value
        for section, (first, stop) in needed:
            for place, kind, number, addend in self._relocations.get(section, []):
                if not first <= place < stop:
                    continue
                if kind != _ABSOLUTE_64:
                    raise UnfitError(f"relocation of kind {kind}")
                symbol, at = self._symbols[number], bases[section] + place
                if symbol.section:
                    code.relative.append((at, bases[symbol.section] + symbol.value + addend))
                elif symbol.name in code.symbols:
                    code.relative.append((at, code.symbols[symbol.name] + addend))
                elif symbol.name in never:
                    code.relative.append((at, code.symbols["trap"]))
                elif symbol.name in allowed and not addend:
                    code.external.append((at, symbol.name))
                else:
                    raise UnfitError(f"calls {symbol.name}")

    def _reachable(self, wanted: frozenset[str]) -> list[tuple[int, tuple[int, int]]]:
        """(section, (first byte, one past the last)) of all functions and data that those wanted lead to."""
        found = {self._span(one.section, one.value) for one in self._symbols if one.name in wanted}
        if len(found) < len(wanted):
            raise UnfitError("a function is missing")
        left = list(found)
        while left:
            section, (first, stop) = left.pop()
            for place, _, number, addend in self._relocations.get(section, []):
                symbol = self._symbols[number]
                if first <= place < stop and symbol.section:
                    span = self._span(symbol.section, symbol.value + addend)
                    if span not in found:
                        found.add(span)
                        left.append(span)
        return sorted(found)

    def _span(self, section: int, offset: int) -> tuple[int, tuple[int, int]]:
        """The function that holds a place; of data the whole section."""
        if section >= len(self._sections) or self._sections[section][1] != _PROGBITS:
            raise UnfitError("memory that is written to")
        for one in self._symbols:
            if one.section == section and one.size and one.value <= offset < one.value + one.size:
                return section, (one.value, one.value + one.size)
        if self._sections[section][2] & 1:
            raise UnfitError("memory that is written to")
        return section, (0, self._sections[section][5])

    def _bytes(self, section: int) -> bytes:
        start, size = self._sections[section][4:6]
        return self._data[start : start + size]

    def _read_relocations(self, section: tuple[int, ...]) -> None:
        table, target = self._sections[section[6]], section[7]
        if not self._symbols:
            self._symbols = [
                self._symbol(table, struct.unpack_from(_SYMBOL, self._data, table[4] + 24 * number))
                for number in range(table[5] // 24)
            ]
        self._relocations[target] = [
            (place, info & 0xFFFFFFFF, info >> 32, addend)
            for place, info, addend in struct.iter_unpack(_RELOCATION, self._data[section[4] : section[4] + section[5]])
        ]

    def _symbol(self, table: tuple[int, ...], fields: tuple[int, ...]) -> _Symbol:
        name, _, _, section, value, size = fields
        start = self._sections[table[6]][4] + name
        return _Symbol(self._data[start : self._data.index(b"\0", start)].decode(), section, value, size)
