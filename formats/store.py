"""Stores: where files lie. One class over `pyarrow.fs` (local disks, S3, GCS, Azure) or, for the rest, fsspec."""

import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from forebay.formats.errors import ForebayError, SourceError, SpecError, StorageError

if TYPE_CHECKING:
    from forebay.formats.remote_object import Learned
    from forebay.formats.remote_reads import RemoteReads

TEMPORARY = ".forebay-tmp-"
"""Prefix of names that are being written. A name that starts so is never read, and a new run sweeps it away."""

_UPLOAD_BYTES = 8 << 20


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
    root: str = ""
    """What makes a path of this store a URL again ("s3://"); "" where that takes more than a prefix, or secrets."""

    remote: "RemoteReads | None" = None
    """How an object store is read: ranges side by side, with retries."""

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
        return bool(self._type(path) != pafs.FileType.NotFound)

    def is_directory(self, path: str) -> bool:
        return bool(self._type(path) == pafs.FileType.Directory)

    def _type(self, path: str) -> pafs.FileType:
        return self._guarded(path, lambda: self.files.get_file_info(path)).type

    def list(self, directory: str, *, recursive: bool = True) -> list[FileInfo]:
        """All files below `directory`, sorted by path; hidden and half-written ones left out."""
        selector = pafs.FileSelector(directory, recursive=recursive)
        found = self._guarded(directory, lambda: self.files.get_file_info(selector))
        files = [FileInfo(one.path, one.size or 0, one.mtime_ns) for one in found if one.type == pafs.FileType.File]
        shown = [one for one in files if not _hidden(one.path, directory)]
        return sorted(shown, key=lambda one: one.path)

    def open_input(self, path: str) -> pa.NativeFile:
        """The file, for reads at any offset."""
        remote = self.remote
        if remote:
            return _told(path, lambda: remote.open(path))
        return self._guarded(path, lambda: self.files.open_input_file(path))

    def open_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> pa.NativeFile:
        """The file, of which these ranges (first byte, one past the last) are read: a remote one fetches them all at once."""
        remote = self.remote
        return _told(path, lambda: remote.open_ranges(path, ranges)) if remote else self.memory_map(path)

    def learned(self, path: str) -> "Learned":
        """Where readers keep what they found out about a remote object, for as long as it is the same; of local files nothing
        is kept."""
        from forebay.formats.remote_object import Learned

        remote = self.remote
        found: Learned = _told(path, lambda: remote.learned(path)) if remote else Learned()
        return found

    def memory_map(self, path: str) -> pa.NativeFile:
        """The file mapped into memory where the store is local, else `open_input`."""
        return self._guarded(path, lambda: pa.memory_map(path)) if self.local else self.open_input(path)

    @contextmanager
    def publish(self, path: str) -> Iterator[pa.NativeFile]:
        """Write a file so that it is either absent or whole.

        On a local disk: a temporary name beside it, fsync, rename, fsync of the directory. On an object store: written
        to a temporary local file first, then put in one go, since a stream that breaks off would leave a short object.
        After an exception nothing is left.

        Raises:
            StorageError: no space, no permission, or the store failed.
        """
        try:
            with self._renamed(path) if self.local else self._uploaded(path) as stream:
                yield stream
        except ForebayError:
            raise
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {_plain(error)}") from error

    @contextmanager
    def _renamed(self, path: str) -> Iterator[pa.NativeFile]:
        directory, _, name = path.rpartition("/")
        temporary = f"{directory}/{TEMPORARY}{uuid.uuid4().hex[:12]}-{name}"
        try:
            with self.files.open_output_stream(temporary) as stream:
                yield stream
            _sync(temporary)
            os.replace(temporary, path)
            _sync(directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    @contextmanager
    def _uploaded(self, path: str) -> Iterator[pa.NativeFile]:
        with tempfile.TemporaryDirectory(prefix="forebay-") as scratch:
            spool = f"{scratch}/spool"
            with pa.OSFile(spool, "wb") as stream:
                yield stream
            try:
                with pa.OSFile(spool) as source, self.files.open_output_stream(path) as target:
                    while chunk := source.read(_UPLOAD_BYTES):
                        target.write(chunk)
            except BaseException:
                with suppress(OSError):
                    self.files.delete_file(path)
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

    def _guarded(self, path: str, call: Callable[[], Any]) -> Any:
        remote = self.remote
        if not remote:
            return _told(path, call)
        from forebay.formats.retry import with_retries

        return _told(path, lambda: with_retries(call, remote.options.retry))


def store_for(path: str | os.PathLike[str]) -> tuple[Store, str]:
    """The store that a path or URL names, and the path within it.

    Raises:
        SpecError: the URL names a kind of store that is not installed.
        SourceError: the URL does not parse, or its store cannot be reached.
    """
    text = os.fspath(path)
    if "://" not in text:
        return Store(pafs.LocalFileSystem(), True), os.path.abspath(text)
    if text.startswith("file://"):
        return Store(pafs.LocalFileSystem(), True), unquote(text[len("file://") :])
    try:
        files, inner = pafs.FileSystem.from_uri(text)
    except pa.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise SourceError(f"{without_secrets(text)}: not a usable URL: {without_secrets(str(error))}") from error
        return _through_fsspec(text)
    except OSError as error:  # the region of a bucket is asked for here
        raise StorageError(f"{without_secrets(text)}: cannot be reached: {_plain(error)}") from error
    return Store(files, False, _root(text, inner), _reads(files)), inner.rstrip("/")


def _told(path: str, call: Callable[[], Any]) -> Any:
    """`call()`, its failures told in forebay's words."""
    try:
        return call()
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file or directory") from error
    except OSError as error:
        raise StorageError(f"{path}: {_plain(error)}") from error


def _root(url: str, inner: str) -> str:
    root = url.removesuffix(inner)
    return root if inner and root != url and without_secrets(root) == root else ""


def _hidden(path: str, directory: str) -> bool:
    inside = path[len(directory.rstrip("/")) :].strip("/").split("/")
    return any(part.startswith(".") for part in inside)


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
        raise SpecError(f"{without_secrets(url)}: {error}") from error
    wrapped = pafs.PyFileSystem(pafs.FSSpecHandler(files))
    return Store(wrapped, False, _root(url, inner), _reads(wrapped)), inner.rstrip("/")


def _reads(files: Any) -> "RemoteReads":
    from forebay.formats.remote_reads import RemoteReads  # a process that reads local files does without

    return RemoteReads(files)


def without_secrets(text: str) -> str:
    """URLs may carry keys (s3://key:secret@bucket, ?secret_key=...): they are never shown."""
    if "://" not in text and "=" not in text:  # a plain path, whose first batch would wait for the expressions
        return text
    text = re.sub(r"://[^/@\s]+@", "://***@", text)
    return re.sub(r"((?:access|secret|token|key|sas|password)[\w-]*=)[^&\s]+", r"\1***", text, flags=re.IGNORECASE)


def _plain(error: OSError) -> str:
    return without_secrets(error.strerror or str(error))
