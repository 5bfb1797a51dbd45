"""A source: the files of a data set, their one schema, and their fragments in order."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from forebay.formats.errors import SpecError, StateError, UnknownNameError
from forebay.formats.expand import expand
from forebay.formats.fragment import Fragment
from forebay.formats.reader import (
    READERS,
    Layout,
    OnBadRow,
    RandomAccess,
    Reader,
    ReadRequest,
    RowRanges,
    format_of,
    known_format,
    only,
    reader_for,
)
from forebay.formats.schemas import Unify, unify
from forebay.formats.store import Store, store_for

if TYPE_CHECKING:
    import pyarrow.compute as pc

    from forebay.formats.manifest import Manifest

_FOOTERS_AT_ONCE = 16


class Source:
    """Lazy: making one lists files; schema and fragments are looked up when asked for, once.

    Attributes:
        paths: files (or image folders), in order.
        format: name of the reader.
        manifest: what was found beside the files, or None.
    """

    manifest: "Manifest | None"

    def __init__(
        self,
        store: Store,
        paths: Sequence[str],
        format: str,
        *,
        schema: Unify = "strict",
        options: Mapping[str, Any] | None = None,
        prepared: "tuple[str, Manifest] | None" = None,
    ) -> None:
        if schema not in ("strict", "union"):
            raise SpecError(f"schema is {schema!r}; expected 'strict' or 'union'")
        self.store, self.paths, self.format = store, tuple(paths), format
        self._directory, self.manifest = prepared or ("", None)
        self._unify: Unify = schema
        self._options = dict(options or {})
        self._reader: Reader = reader_for(format, self._options)

    @cached_property
    def schema(self) -> pa.Schema:
        """The one schema of all files."""
        if self.manifest:
            return self.manifest.schema
        found = unify(((path, one.schema) for path, one in zip(self.paths, self._layouts, strict=True)), self._unify)
        if self.format not in ("csv", "jsonl"):
            return found
        # a column of nulls only has no type yet: text holds whatever comes
        settled = [one.with_type(pa.string()) if pa.types.is_null(one.type) else one for one in found]
        return pa.schema(settled, metadata=found.metadata)

    def fragments(self) -> tuple[Fragment, ...]:
        """All fragments; a fragment's place here is its ordinal, the upper half of its rows' sample ids."""
        return self._fragments

    def read(
        self,
        fragment: Fragment,
        *,
        columns: Sequence[str] | None = None,
        filter: "pc.Expression | None" = None,
        on_bad_row: OnBadRow | None = None,
        at_once: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """The fragment's rows, narrowed to `columns` (in the schema's order). See `Reader.read`."""
        request = ReadRequest(only(self.schema, columns), filter, on_bad_row, self._unify == "union", at_once)
        return self._reader.read(self.store, fragment, request)

    @property
    def row_ranges(self) -> RowRanges | None:
        """What reads some rows of a fragment without the others, if this format may have that."""
        return cast(RowRanges, self._reader) if self._unify != "union" and hasattr(self._reader, "read_rows") else None

    @property
    def random_access(self) -> bool:
        """Whether any row can be taken at any time at no cost: local Arrow files, mapped into memory."""
        return self.store.local and hasattr(self._reader, "open_batches")

    def open_batches(self, path: str) -> list[pa.RecordBatch]:
        """All record batches of a file, zero copy; only where `random_access`. One for each fragment of the file."""
        return cast(RandomAccess, self._reader).open_batches(self.store, path)

    def identity(self) -> dict[str, Any]:
        """What the data is, as plain values for fingerprints: it changes when a file does, not when a directory moves.

        Checksums where a manifest has them, else size and time of each file.
        """
        if self.manifest:
            files: list[list[Any]] = [[one.name, one.checksum] for one in self.manifest.shards]
        else:
            files = [[path.rsplit("/", 1)[-1], *self._stat(path)] for path in self.paths]
        return {"format": self.format, "options": _plain(self._options), "schema": self._unify, "files": files}

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs to open the same source in another process: no fragments, since a worker gets its own
        with its work unit, but the schema, so that it need not look at every file for it.

        Raises:
            SpecError: it lies in an object store whose URL holds options or keys, which are not to be written down.
        """
        if not self.store.local and not self.store.root:
            raise SpecError(
                "the URL of this source holds keys or options, and these are not written into a plan; put them into the "
                "environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...) and give the plain URL"
            )
        return {
            # a prepared data set is its directory: its shards are in the manifest
            "paths": [self.store.root + one for one in ([self.directory] if self.manifest else self.paths)],
            "format": self.format,
            "schema": self._unify,
            "options": _plain(self._options),
            "manifest": self.manifest is not None,
            "arrow_schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Source":
        """The source that `to_json` wrote.

        Raises:
            StateError: a prepared data set has another schema by now.
        """
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value["arrow_schema"])))
        settings: dict[str, Any] = {"schema": value["schema"], "options": value["options"]}
        if value["manifest"]:
            found = open_source(value["paths"][0], value["format"], **settings)
            if not found.schema.equals(schema):
                raise StateError(f"{value['paths'][0]}: the columns are other than when the plan was made; plan again")
            return found
        store, _ = store_for(value["paths"][0])
        made = cls(store, [one.removeprefix(store.root) for one in value["paths"]], value["format"], **settings)
        made.__dict__["schema"] = schema
        return made

    def __getstate__(self) -> dict[str, Any]:
        # fragments and schema travel along, so that a worker does not read every footer again; the layouts are those
        self.schema, self._fragments  # noqa: B018  # looked up now
        return {key: value for key, value in self.__dict__.items() if key != "_layouts"}

    @property
    def directory(self) -> str:
        """Directory of the manifest; "" without one."""
        return self._directory

    @cached_property
    def _layouts(self) -> list[Layout]:
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE, thread_name_prefix="forebay-footers") as pool:
            return list(pool.map(lambda path: self._reader.layout(self.store, path), self.paths))

    @cached_property
    def _fragments(self) -> tuple[Fragment, ...]:
        if self.manifest:
            return tuple(_from_manifest(self.manifest, self.paths))
        return tuple(one for layout in self._layouts for one in layout.fragments)

    def _stat(self, path: str) -> list[Any]:
        if self.store.is_directory(path):
            return [[one.path[len(path) :], one.size, one.mtime_ns] for one in self.store.list(path)]
        info = self.store.info(path)
        return [info.size, info.mtime_ns]


def open_source(
    path: Any,
    format: str | None = None,
    *,
    schema: Unify = "strict",
    options: Mapping[str, Any] | None = None,
) -> Source:
    """The source that a path, directory, glob, URL or list of these names.

    A directory with a manifest is opened by it; without one by the files in it.

    Raises:
        SourceError: nothing there.
        UnknownNameError: no such format.
        SpecError: files of several formats.
    """
    if format is not None and format not in READERS:
        raise UnknownNameError.of("format", format, READERS)
    if isinstance(path, str) or hasattr(path, "__fspath__"):
        store, inner = store_for(path)
        prepared = format in (None, "parquet", "arrow")
        # a store far away is asked for the manifest at once; a directory that has none costs a question more
        prepared = prepared and ((not store.local and not known_format(inner)) or store.is_directory(inner))
        manifest = _manifest_of(store, inner) if prepared else None
        if manifest is not None:
            paths = [f"{inner}/{one.name}" for one in manifest.shards]
            return Source(store, paths, manifest.format, schema=schema, options=options, prepared=(inner, manifest))
        folder = format == "images" or (format is None and not known_format(inner))
        if folder and store.is_directory(inner) and (format or _first_format(store, inner)) == "images":
            return Source(store, [inner.rstrip("/")], "images", schema=schema, options=options)
    store, files = expand(path, wanted=lambda one: known_format(one) == format if format else known_format(one) != "")
    found = format or format_of(files[0])
    if format is None:
        others = [one for one in files if format_of(one) != found]
        if others:
            raise SpecError(
                f"files of several formats: {files[0]} is {found}, {others[0]} is {format_of(others[0])}; narrow the "
                "path (data/*.parquet), or say which with format=..."
            )
    if found == "images":
        raise SpecError("images are scanned by their folder (FOLDER/CLASS/FILE): give the folder, not the files")
    return Source(store, files, found, schema=schema, options=options)


def _first_format(store: Store, directory: str) -> str | None:
    return next((format for one in store.list(directory) if (format := known_format(one.path))), None)


def _manifest_of(store: Store, directory: str) -> "Manifest | None":
    from forebay.formats.manifest import manifest_of  # single files have none

    return manifest_of(store, directory)


def _from_manifest(manifest: "Manifest", paths: Sequence[str]) -> Iterator[Fragment]:
    for shard, path in zip(manifest.shards, paths, strict=True):
        for group, rows in enumerate(shard.group_rows()):
            nbytes = shard.nbytes * rows // max(shard.rows, 1)
            yield Fragment(path=path, format=manifest.format, start=group, stop=group + 1, rows=rows, nbytes=nbytes)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
