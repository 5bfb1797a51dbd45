"""Lines of text files: cut into byte ranges, given back in blocks of whole lines, decompressed on the way."""

import codecs
import struct
from collections.abc import Iterator

import pyarrow as pa

from forebay.formats.errors import CorruptError
from forebay.formats.fragment import Fragment
from forebay.formats.store import Store

RANGE_BYTES = 16 << 20
"""Bytes of a fragment of a plain file. Part of what sample ids mean, so it never changes."""

BLOCK_BYTES = 2 << 20
"""Bytes parsed at a time: what Arrow makes of them still lies in the processor's cache."""

SAMPLE_BYTES = 4 << 20
"""Bytes at the start of a file from which column types are learned."""

_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


def compression(path: str) -> str | None:
    """Name of the compression that the suffix tells, or None."""
    return next((name for suffix, name in _COMPRESSION.items() if path.lower().endswith(suffix)), None)


def split_lines(store: Store, path: str, format: str, *, whole: bool = False) -> tuple[Fragment, ...]:
    """Byte ranges of a plain file; a compressed one (or with `whole`) is a single fragment."""
    size = store.info(path).size
    step = size if whole or compression(path) else RANGE_BYTES
    starts = range(0, size, max(step, 1))
    return tuple(
        Fragment(path=path, format=format, start=at, stop=min(at + step, size), rows=None, nbytes=min(step, size - at))
        for at in starts
    )


def blocks(store: Store, fragment: Fragment, *, quoted: bool = False) -> Iterator[bytes]:
    """The lines that begin within the fragment's bytes, as blocks of whole lines.

    With `quoted`, a newline between double quotes does not end a line (the fragment must then be the whole file). A
    byte order mark of UTF-8 at the start of the file is taken off.

    Raises:
        CorruptError: the compressed stream is broken, or the text is UTF-16.
    """
    codec = compression(fragment.path)
    file = store.open_input(fragment.path)
    stream = pa.CompressedInputStream(file, codec) if codec else file
    left = None if codec else fragment.stop - fragment.start
    rest = b""
    if not codec and fragment.start:
        # A line that begins before the range belongs to the one before, so skip to behind the first newline at or after
        # the byte before the range.
        file.seek(fragment.start - 1)
        skipped = _skip_line(file)
        left = fragment.stop - (fragment.start - 1 + skipped)
        if left <= 0:
            return
    first = fragment.start == 0
    while left is None or left > 0:
        chunk = _read(stream, BLOCK_BYTES if left is None else min(BLOCK_BYTES, left), fragment.path)
        if not chunk:
            break
        left = None if left is None else left - len(chunk)
        if first:
            chunk, first = _without_mark(chunk, fragment.path), False
        whole, rest = (_cut_unquoted if quoted else _cut)(rest + chunk)
        if whole:
            yield whole
    if rest and not codec and not quoted:
        rest += _to_newline(file)  # the last line of the range may end in the next
    if rest:
        yield rest


def sample(store: Store, fragment: Fragment, *, quoted: bool = False) -> bytes:
    """Whole lines from the start of a fragment, about SAMPLE_BYTES of them."""
    found, size = list[bytes](), 0
    for block in blocks(store, fragment, quoted=quoted):
        found.append(block)
        size += len(block)
        if size >= SAMPLE_BYTES:
            break
    return b"".join(found)


def _read(stream: pa.NativeFile, count: int, path: str) -> bytes:
    try:
        return bytes(stream.read(count))
    except (OSError, pa.ArrowException) as error:
        raise CorruptError(f"{path}: the compressed stream is broken or cut short: {error}") from error


def _cut(data: bytes) -> tuple[bytes, bytes]:
    at = data.rfind(b"\n") + 1
    return data[:at], data[at:]


def _cut_unquoted(data: bytes) -> tuple[bytes, bytes]:
    # A newline is a row's end where the quotes before it come in pairs; a doubled quote within quotes is a pair too.
    quotes, at = data.count(b'"'), len(data)
    while (newline := data.rfind(b"\n", 0, at)) >= 0:
        quotes -= data.count(b'"', newline, at)
        if quotes % 2 == 0:
            return data[: newline + 1], data[newline + 1 :]
        at = newline
    return b"", data


def _without_mark(chunk: bytes, path: str) -> bytes:
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CorruptError(f"{path}: the text is UTF-16, expected UTF-8; convert it (iconv -f UTF-16 -t UTF-8)")
    return chunk.removeprefix(codecs.BOM_UTF8)


def halve(block: bytes, *, quoted: bool = False) -> tuple[bytes, bytes] | None:
    """About half the lines of `block` and the others, or None when it is a single line."""
    middle = len(block) // 2
    if quoted:
        at = len(_cut_unquoted(block[:middle])[0]) or first_row(block)
    else:
        at = block.rfind(b"\n", 0, middle) + 1 or block.find(b"\n", middle) + 1
    return (block[:at], block[at:]) if 0 < at < len(block) else None


def first_row(block: bytes) -> int:
    """Bytes of the first row, where quoted fields may hold newlines."""
    at = quotes = 0
    while (newline := block.find(b"\n", at)) >= 0:
        quotes += block.count(b'"', at, newline)
        at = newline + 1
        if quotes % 2 == 0:
            return at
    return len(block)


def is_utf8(data: bytes) -> bool:
    """Whether all of it decodes; Arrow's JSON parser does not look, and its CSV parser does for some columns only."""
    # Arrow checks an array of one string several times as fast as decoding does, and makes no copy.
    ends = pa.py_buffer(struct.pack("<qq", 0, len(data)))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _skip_line(file: pa.NativeFile) -> int:
    skipped = 0
    while chunk := bytes(file.read(64 << 10)):
        at = chunk.find(b"\n")
        if at >= 0:
            file.seek(file.tell() - len(chunk) + at + 1)
            return skipped + at + 1
        skipped += len(chunk)
    return skipped


def _to_newline(file: pa.NativeFile) -> bytes:
    parts = []
    while chunk := bytes(file.read(64 << 10)):
        at = chunk.find(b"\n")
        if at >= 0:
            parts.append(chunk[: at + 1])
            break
        parts.append(chunk)
    return b"".join(parts)
