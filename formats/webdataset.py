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
    """Columns: __key__ and one for each extension of the first samples. Text and JSON stay text, `cls` and its like become
    int64, all else is bytes, as WebDataset's own decoder takes them. A tar is one fragment, since it has no index."""

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
                sample = {name: _value(name, data) for name, data in parts.items() if name in request.schema.names}
            except ValueError as error:
                if request.on_bad_row is None:
                    raise DataError(
                        f"{fragment.path}: sample {row} ({key}): {error}; mend it, or set it aside with on_bad='quarantine'"
                    ) from error
                request.on_bad_row(row, str(error), key)
                continue
            held.append({"__key__": key, **sample})
            if len(held) == _SAMPLES_AT_A_TIME:
                yield _batch(held, request.schema)
                held = []
        if held:
            yield _batch(held, request.schema)


def _batch(samples: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array([one.get(field.name) for one in samples], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _samples(store: Store, path: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    key, parts = "", dict[str, bytes]()
    try:
        with store.open_input(path) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if not member.isfile() or name.rsplit("/", 1)[-1].startswith((".", "__")):
                    continue
                folder, slash, base = name.rpartition("/")
                stem, _, extension = base.partition(".")
                own = folder + slash + stem
                if own != key and parts:
                    yield key, parts
                    parts = {}
                key = own
                stream = tar.extractfile(member)
                parts[extension.lower()] = stream.read() if stream else b""
    except (tarfile.TarError, EOFError) as error:
        raise CorruptError(f"{path}: not a whole tar file: {error}") from error
    if parts:
        yield key, parts


def _last(extension: str) -> str:
    return extension.rsplit(".", 1)[-1]


def _type(extension: str) -> pa.DataType:
    last = _last(extension)
    return pa.string() if last in _TEXT else pa.int64() if last in _NUMBER else pa.binary()


def _value(extension: str, data: bytes) -> bytes | str | int:
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
