"""Image folders, a directory for each class. Columns: image (bytes of the file), label (int64), path in the folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from forebay.formats.errors import SourceError
from forebay.formats.fragment import Fragment
from forebay.formats.lent_memory import PIXELS
from forebay.formats.reader import READERS, Layout, ReadRequest
from forebay.formats.schemas import CLASSES_KEY
from forebay.formats.store import FileInfo, Store

_MOST_BYTES = 1 << 31
"""Offsets of a binary column have 32 bits."""
RUN_FILES = 64
"""Files of a fragment. Part of what sample ids mean, so it never changes."""


@dataclass(frozen=True, slots=True)
class ImageFolderReader:
    """Classes are the directories directly below the folder, sorted by name; files are taken in order of their path."""

    def layout(self, store: Store, path: str) -> Layout:
        files, classes = _listing(store, path)
        fragments = []
        for start in range(0, len(files), RUN_FILES):
            run = files[start : start + RUN_FILES]
            fragments.append(
                Fragment(
                    path=path,
                    format="images",
                    start=start,
                    stop=start + len(run),
                    rows=len(run),
                    nbytes=sum(one.size for one in run),
                )
            )
        return Layout(_schema(classes), tuple(fragments))

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        files, classes = _listing(store, fragment.path)
        run = files[fragment.start : fragment.stop]
        labels = {name: at for at, name in enumerate(classes)}
        inner = [one.path[len(fragment.path) :].strip("/") for one in run]
        columns = []
        for field in request.schema:
            if field.name == "image":
                columns.append(
                    _in_one_piece(store, run) or pa.array([_bytes(store, one.path) for one in run], field.type)
                )
            elif field.name == "label":
                columns.append(pa.array([labels[one.split("/", 1)[0]] for one in inner], field.type))
            else:
                columns.append(pa.array(inner, field.type))
        yield pa.RecordBatch.from_arrays(columns, schema=request.schema)


def _schema(classes: list[str]) -> pa.Schema:
    return pa.schema(
        [("image", pa.binary()), ("label", pa.int64()), ("path", pa.string())],
        metadata={CLASSES_KEY: json.dumps(classes).encode()},
    )


@lru_cache(maxsize=16)
def _listing(store: Store, path: str) -> tuple[list[FileInfo], list[str]]:
    suffixes = READERS["images"][1]
    files = [one for one in store.list(path) if one.path.lower().endswith(suffixes)]
    loose = [one.path for one in files if "/" not in one.path[len(path) :].strip("/")]
    if loose:
        raise SourceError(
            f"{path}: {loose[0]} lies in no class directory ({len(loose)} such files); an image folder is "
            "FOLDER/CLASS/FILE"
        )
    if not files:
        raise SourceError(f"{path}: no images below it (known suffixes: {', '.join(suffixes)})")
    return files, sorted({one.path[len(path) :].strip("/").split("/", 1)[0] for one in files})


def _in_one_piece(store: Store, files: list[FileInfo]) -> pa.Array | None:
    """Local files read one behind another into memory that is used again: Arrow's builder would copy each, and all of them anew
    whenever it grows. None where that cannot be, or where a file is no longer as long as it was."""
    total, ends = sum(one.size for one in files), [0]
    if not store.local or total >= _MOST_BYTES:
        return None
    buffer, room = PIXELS.take(total)
    for one in files:
        start, end = ends[-1], ends[-1] + one.size
        with store.open_input(one.path) as file:
            if (one.size and file.readinto(room[start:end]) != one.size) or file.read(1):
                return None
        ends.append(end)
    offsets = pa.array(ends, pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), len(files), [None, offsets, buffer])


def _bytes(store: Store, path: str) -> bytes:
    with store.open_input(path) as file:
        return bytes(file.read())
