"""What fitted transforms learned, as files: saved beside the shards, loaded in training and in serving, without the engine.

A state directory holds `state.json` (specs, plain values, a hash over all) and one small Arrow file for each array.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from forebay.formats.errors import CorruptError, NotFittedError, SourceError, StateError
from forebay.transforms import catalog
from forebay.transforms.transform import Rows, State, Transform

VERSION = 1
UNSEEN = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Sample id of rows that are not of the data that was learned from, as in serving."""
_FILE = "state.json"
_ARROW = "$arrow"


def save_state(transforms: Sequence[Transform], states: Sequence[State | None], schema: pa.Schema, path: str) -> None:
    """Write specs and states to the directory `path`; the file `state.json` comes last, whole or not at all.

    Args:
        transforms: in the order they run.
        states: what each learned, None for those that do not learn.
        schema: schema before the first.
        path: the directory; made if it is not there.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    entries, digest = [], xxhash.xxh3_128()
    for at, (one, state) in enumerate(zip(transforms, states, strict=True)):
        values: dict[str, Any] = {}
        for number, (key, value) in enumerate(sorted((state or {}).items())):
            if isinstance(value, pa.Array | pa.ChunkedArray):
                name = f"{at:03d}-{number:03d}.arrow"
                digest.update(_write(directory / name, _arrow_bytes(value)))
                values[key] = {_ARROW: name}
            else:
                values[key] = _plain(value)
        entries.append({"spec": catalog.to_json(one), "version": one.version, "state": values if state else None})
    body = {
        "forebay_state": VERSION,
        "schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
        "transforms": entries,
    }
    digest.update(json.dumps(body, sort_keys=True).encode())
    text = json.dumps({**body, "hash": digest.hexdigest()}, indent=1, sort_keys=True, ensure_ascii=False)
    _write(directory / _FILE, text.encode() + b"\n")


def load(path: str | os.PathLike[str]) -> "FittedState":
    """The state in a directory, or in the `state` directory of a prepared data set.

    Raises:
        SourceError: there is none.
        StateError: a later forebay wrote it, or a transform has changed its meaning since.
        CorruptError: a file is missing or altered.
    """
    directory = Path(path)
    if not (directory / _FILE).exists():
        directory = directory / "state"
    try:
        value = json.loads((directory / _FILE).read_text())
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no fitted state here; expected {_FILE} in it or in its directory state/") from error
    except ValueError as error:
        raise CorruptError(f"{directory / _FILE}: not JSON: {error}") from error
    if value.get("forebay_state", 0) > VERSION:
        raise StateError(f"{directory}: state of version {value['forebay_state']}; this forebay reads up to {VERSION}")
    digest = xxhash.xxh3_128()
    transforms, states = [], []
    for entry in value["transforms"]:
        one = catalog.from_json(entry["spec"], where=str(directory / _FILE))
        if one.version != entry["version"]:
            raise StateError(
                f"{directory}: {type(one).__name__} was fitted at version {entry['version']} and is now {one.version}: its "
                "values would differ; fit again"
            )
        transforms.append(one)
        states.append(None if entry["state"] is None else _read_values(directory, entry["state"], digest))
    body = {key: one for key, one in value.items() if key != "hash"}
    digest.update(json.dumps(body, sort_keys=True).encode())
    if digest.hexdigest() != value.get("hash"):
        raise CorruptError(f"{directory}: the files do not match the hash in {_FILE}; one of them was altered")
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value["schema"])))
    return FittedState(tuple(transforms), tuple(states), schema)


@dataclass(frozen=True, slots=True)
class FittedState:
    """Transforms with what they learned: all that a serving process needs."""

    transforms: tuple[Transform, ...]
    states: tuple[State | None, ...]
    schema: pa.Schema
    """Schema of the rows that go in, as they were when it was fitted."""

    def transform(self, batch: pa.RecordBatch, *, filters: bool = False) -> pa.RecordBatch:
        """`batch` after all transforms, the same as in preparation and training, to the last bit.

        Args:
            batch: has the columns that the transforms read; columns that only filters need may be missing.
            filters: whether filters run, too. In serving every row wants an answer, so they do not.

        Raises:
            NotFittedError: a transform has not learned.
            BadRows: rows that a transform cannot process.
        """
        rows = Rows(np.full(batch.num_rows, UNSEEN))
        for at, (one, state) in enumerate(zip(self.transforms, self.states, strict=True)):
            if one.fitted and state is None:
                raise NotFittedError(f"{type(one).__name__} has not learned; call .fit() before saving")
            if one.random and one.output_schema(batch.schema).equals(batch.schema):
                continue  # noise is for training
            if one.kind == "row":
                made: Any = one.bind(batch.schema, state, at)(batch, rows)
                batch = made
            elif filters and one.kind in ("filter", "dataset"):
                keep: Any = one.bind(batch.schema, state, at)(batch, rows)
                batch, rows = batch.filter(pa.array(keep)), Rows(rows.ids[keep])
        return batch


def _read_values(directory: Path, values: Mapping[str, Any], digest: Any) -> dict[str, Any]:
    found = {}
    for key, value in sorted(values.items()):
        if isinstance(value, Mapping) and _ARROW in value:
            try:
                data = (directory / value[_ARROW]).read_bytes()
            except FileNotFoundError as error:
                raise CorruptError(f"{directory}: {value[_ARROW]}, named in {_FILE}, is missing") from error
            digest.update(data)
            try:
                table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
            except pa.ArrowException as error:
                raise CorruptError(f"{directory / value[_ARROW]}: not a whole Arrow file: {error}") from error
            found[key] = table.column(0).combine_chunks()
        else:
            found[key] = value
    return found


def _arrow_bytes(value: pa.Array | pa.ChunkedArray) -> bytes:
    whole = value.combine_chunks() if isinstance(value, pa.ChunkedArray) else pa.concat_arrays([value])
    sink = pa.BufferOutputStream()
    table = pa.table({"values": whole})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _write(path: Path, data: bytes) -> bytes:
    temporary = path.with_name(f".forebay-tmp-{path.name}")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value
