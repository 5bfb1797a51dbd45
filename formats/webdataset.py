"""WebDataset tars: files that share a name up to its first dot are one sample; a column for each extension."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from forebay.formats.errors import CorruptError, DataError, SourceError
from forebay.formats.fragment import Fragment
from forebay.formats.reader import Layout, ReadRequest
from forebay.formats.store import Store

_TEXT = {"txt", "text", "transcript", "json"}
_NUMBER = {"cls", "cls2", "class", "count", "index", "inx", "id"}
_SAMPLES_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class WebDatasetReader:
    """Columns: __key__ and one for each extension of the first samples.

    Text and JSON stay text, `cls` and its like become int64, all else is bytes, as WebDataset's own decoder takes them.
    A tar is one fragment, since it has no index.
    """

    probe: int = 16
    """Samples looked at to learn the extensions; one that appears later is not read."""

    def layout(self, store: Store, path: str) -> Layout:
        extensions: list[str] = []
        for at, (_, parts) in enumerate(_samples(store, path)):
            extensions += [name for name in parts if name not in extensions]
            if at + 1 >= self.probe:
                break
        if not extensions:
            raise SourceError(f"{path}: the tar holds no samples")
        size = store.info(path).size
        fields = [pa.field("__key__", pa.string())] + [pa.field(name, _type(name)) for name in extensions]
        fragment = Fragment(path=path, format="webdataset", start=0, stop=1, rows=None, nbytes=size)
        return Layout(pa.schema(fields), (fragment,))

    def read(self, store: Store, fragment: Fragment, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        held: list[dict[str, Any]] = []
        for row, (key, parts) in enumerate(_samples(store, fragment.path)):
            try:
                values = {name: _value(name, parts) for name in request.schema.names if name in parts}
            except ValueError as error:
                if request.on_bad_row is None:
                    raise DataError(
                        f"{fragment.path}: sample {row} ({key}): {error}; mend it, or set it aside with "
                        "on_bad='quarantine'"
                    ) from error
                request.on_bad_row(row, str(error), key)
                continue
            held.append({"__key__": key, **values})
            if len(held) == _SAMPLES_AT_A_TIME:
                yield _batch(held, request.schema)
                held = []
        if held:
            yield _batch(held, request.schema)


def _batch(samples: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array([one.get(field.name) for one in samples], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _samples(store: Store, path: str) -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """(key, extension -> contents of the files that have it, more than one if there are) of each sample."""
    key, parts = "", dict[str, list[bytes]]()
    try:
        with store.open_input(path) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # else it remembers a million members
                name = member.name.removeprefix("./")
                folder, slash, base = name.rpartition("/")
                stem, dot, extension = base.partition(".")
                if not member.isfile() or not stem or not dot or base.startswith("__"):
                    continue
                own = folder + slash + stem
                if own != key and parts:
                    yield key, parts
                    parts = {}
                key = own
                stream = tar.extractfile(member)
                parts.setdefault(extension.lower(), []).append(stream.read() if stream else b"")
    except (tarfile.TarError, EOFError, pa.ArrowException, OSError) as error:
        raise CorruptError(f"{path}: not a whole tar file: {error}") from error
    if parts:
        yield key, parts


def _last(extension: str) -> str:
    return extension.rsplit(".", 1)[-1]


def _type(extension: str) -> pa.DataType:
    last = _last(extension)
    return pa.string() if last in _TEXT else pa.int64() if last in _NUMBER else pa.binary()


def _value(extension: str, parts: dict[str, list[bytes]]) -> bytes | str | int:
    data = parts[extension][0]
    if len(parts[extension]) > 1:
        raise ValueError(f"{len(parts[extension])} files with the extension {extension}, expected one")
    if _last(extension) in _TEXT:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{extension} is not UTF-8") from error
    if _last(extension) in _NUMBER:
        try:
            return int(data)
        except ValueError as error:
            raise ValueError(f"{extension} is {data[:20]!r}, expected a whole number") from error
    return data
