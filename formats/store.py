"""Stores: where files lie. One class over `pyarrow.fs`, which knows local disks, S3, GCS and Azure; fsspec knows the rest."""

import fnmatch
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from forebay.formats.errors import SourceError, SpecError, StorageError

TEMPORARY = ".forebay-tmp-"
"""Prefix of names that are being written. A name that starts so is never read, and a new run sweeps it away."""

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a store knows of a file without reading it."""

    path: str
    size: int
    mtime_ns: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """A file system and the verbs that forebay needs of it. Cheap to make; safe to share between threads."""

    files: Any
    """A `pyarrow.fs.FileSystem`."""
    local: bool
    """Whether files can be memory-mapped and renamed in place."""

    def info(self, path: str) -> FileInfo:
        """Size and time of a file.

        Raises:
            SourceError: there is no such file.
        """
        found = self._guarded(path, lambda: self.files.get_file_info(path))
        if found.type == pafs.FileType.NotFound:
            raise SourceError(f"{path}: no such file or directory")
        return FileInfo(path, found.size or 0, found.mtime_ns)

    def exists(self, path: str) -> bool:
        return bool(self.files.get_file_info(path).type != pafs.FileType.NotFound)

    def is_directory(self, path: str) -> bool:
        return bool(self.files.get_file_info(path).type == pafs.FileType.Directory)

    def list(self, directory: str, *, recursive: bool = True) -> list[FileInfo]:
        """All files below `directory`, sorted by path; hidden and half-written ones left out."""
        selector = pafs.FileSelector(directory, recursive=recursive)
        found = self._guarded(directory, lambda: self.files.get_file_info(selector))
        files = [FileInfo(one.path, one.size or 0, one.mtime_ns) for one in found if one.type == pafs.FileType.File]
        shown = [one for one in files if not _hidden(one.path, directory)]
        return sorted(shown, key=lambda one: one.path)

    def open_input(self, path: str) -> pa.NativeFile:
        """The file, for reads at any offset."""
        return self._guarded(path, lambda: self.files.open_input_file(path))

    def memory_map(self, path: str) -> pa.NativeFile:
        """The file mapped into memory where the store is local, else `open_input`."""
        return self._guarded(path, lambda: pa.memory_map(path)) if self.local else self.open_input(path)

    @contextmanager
    def publish(self, path: str) -> Iterator[pa.NativeFile]:
        """Write a file so that it is either absent or whole.

        On a local disk: a temporary name beside it, fsync, rename, fsync of the directory. On an object store: one upload,
        which becomes visible when it is complete. After an exception nothing is left.

        Raises:
            StorageError: no space, no permission, or the store failed.
        """
        directory, _, name = path.rpartition("/")
        temporary = f"{directory}/{TEMPORARY}{uuid.uuid4().hex[:12]}-{name}" if self.local else path
        try:
            with self.files.open_output_stream(temporary) as stream:
                yield stream
            if self.local:
                _sync(temporary)
                os.replace(temporary, path)
                _sync(directory or ".")
        except BaseException as error:
            if self.local:
                with suppress(OSError):
                    os.unlink(temporary)
            if isinstance(error, OSError):
                raise StorageError(f"{path}: cannot be written: {_plain(error)}") from error
            raise

    def make_directory(self, path: str) -> None:
        self._guarded(path, lambda: self.files.create_dir(path, recursive=True))

    def delete(self, path: str) -> None:
        self._guarded(path, lambda: self.files.delete_file(path))

    def sweep(self, directory: str) -> None:
        """Take away what a killed run left half-written in `directory`."""
        if self.local and os.path.isdir(directory):
            for name in os.listdir(directory):
                if name.startswith(TEMPORARY):
                    os.unlink(os.path.join(directory, name))

    @staticmethod
    def _guarded(path: str, call: Any) -> Any:
        try:
            return call()
        except FileNotFoundError as error:
            raise SourceError(f"{path}: no such file or directory") from error
        except OSError as error:
            raise StorageError(f"{path}: {_plain(error)}") from error


def store_for(path: str | os.PathLike[str]) -> tuple[Store, str]:
    """The store that a path or URL names, and the path within it.

    Raises:
        SpecError: the URL names a kind of store that is not installed.
        SourceError: the URL does not parse.
    """
    text = os.fspath(path)
    if "://" not in text:
        return Store(pafs.LocalFileSystem(), True), os.path.abspath(text)
    if text.startswith("file://"):
        return Store(pafs.LocalFileSystem(), True), text[len("file://") :]
    try:
        files, inner = pafs.FileSystem.from_uri(text)
    except pa.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise SourceError(f"{_without_secrets(text)}: not a usable URL: {_without_secrets(str(error))}") from error
        return _through_fsspec(text)
    return Store(files, False), inner


def expand(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[Store, list[str]]:
    """The files that a path, directory, glob or list of these names, in sorted order (a list keeps its own order).

    Raises:
        SourceError: nothing matches, or a directory is empty.
        SpecError: the paths lie in different stores.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise SourceError("no paths were given; expected a file, a directory, a glob such as data/*.parquet, or a list")
    found: list[str] = []
    stores = []
    for one in given:
        store, inner = store_for(one)
        stores.append(store)
        found.extend(_expand_one(store, inner, _without_secrets(os.fspath(one))))
    if any(not store.files.equals(stores[0].files) for store in stores[1:]):
        raise SpecError("the paths lie in different stores; scan each on its own")
    return stores[0], found


def _expand_one(store: Store, path: str, shown: str) -> list[str]:
    if _GLOB.search(path):
        head = path[: _GLOB.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]  # it matched just above
        known = store.list(head or "/") if store.exists(head or "/") else []
        matched = [one.path for one in known if _matches(one.path, path)]
        if not matched:
            raise SourceError(f"{shown}: no file matches")
        return matched
    if store.is_directory(path):
        inside = [one.path for one in store.list(path) if not _aside(one.path)]
        if not inside:
            raise SourceError(f"{shown}: the directory holds no files")
        return inside
    store.info(path)
    return [path]


def _matches(path: str, pattern: str) -> bool:
    # a * stays within one directory, as in a shell; ** goes deeper
    parts, wanted = path.split("/"), pattern.split("/")
    if "**" in wanted:
        at = wanted.index("**")
        tail = wanted[at + 1 :]
        return (
            _each(parts[:at], wanted[:at])
            and len(parts) >= at + len(tail)
            and _each(parts[len(parts) - len(tail) :], tail)
        )
    return len(parts) == len(wanted) and _each(parts, wanted)


def _each(parts: list[str], wanted: list[str]) -> bool:
    return all(fnmatch.fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))


def _hidden(path: str, directory: str) -> bool:
    inside = path[len(directory) :].strip("/").split("/")
    return any(part.startswith(".") for part in inside)


def _aside(path: str) -> bool:
    """Files that stand beside data without being data: what this program and others write there."""
    name = Path(path).name
    return name.startswith("_") or name in {"manifest.json", "report.json", "quarantine.parquet"} or "/state/" in path


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _through_fsspec(url: str) -> tuple[Store, str]:
    try:
        import fsspec
    except ImportError as error:
        scheme = url.split("://", 1)[0]
        raise SpecError(f"{scheme}:// needs fsspec: pip install 'forebay[remote]'") from error
    try:
        files, inner = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SpecError(f"{_without_secrets(url)}: {error}") from error
    return Store(pafs.PyFileSystem(pafs.FSSpecHandler(files)), False), inner


def _without_secrets(text: str) -> str:
    """URLs may carry keys (s3://key:secret@bucket, ?secret_key=...): they are never shown."""
    text = re.sub(r"://[^/@\s]+@", "://***@", text)
    return re.sub(r"((?:access|secret|token|key|sas|password)[\w-]*=)[^&\s]+", r"\1***", text, flags=re.IGNORECASE)


def _plain(error: OSError) -> str:
    return _without_secrets(error.strerror or str(error))
