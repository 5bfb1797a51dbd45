"""Tokenize: text becomes token ids, by a Hugging Face `tokenizers` file."""

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from forebay.formats.errors import SchemaError, SpecError
from forebay.formats.plain_numbers import valid
from forebay.transforms.column_names import TEXT, textual, typed
from forebay.transforms.first_texts import FirstTogether
from forebay.transforms.text_column import text_bytes, validity
from forebay.transforms.tokenizer_calls import LibraryCalls, TextEncoder
from forebay.transforms.tokenizer_words import RememberedWords, added_tokens, words_alone
from forebay.transforms.transform import Apply, Kind, Rows, State

_DROPOUT = re.compile(rb'"dropout"\s*:(?!\s*null\b)')


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Replace a text column by lists of its token ids (int32), as the `tokenizers` library makes them.

    Deterministic: truncation and padding that the file asks for are switched off (that is for the loader), and a file with
    BPE dropout is refused. Where a file's tokenizer encodes each word by itself, as GPT-2's does, the ids of words are
    remembered. Texts are encoded in the thread that asks: `TOKENIZERS_PARALLELISM` is set to "false" for the
    process where nobody has set it. Null stays null, an empty text becomes the special tokens alone or an empty list. Needs
    `pip install 'forebay[text]'`.
    """

    column: str
    """Text."""
    tokenizer: str = field(kw_only=True)
    """Path of a `tokenizer.json`, or the JSON itself (which then travels with recipes and states)."""
    into: str = field(default="input_ids", kw_only=True)
    """Name of the column of lists, which takes the place of the text."""
    special_tokens: bool = field(default=True, kw_only=True)
    """Whether the tokens that the file's post-processor adds (such as [CLS] and [SEP]) are added."""
    digest: str = field(default="", kw_only=True)
    """SHA-256 of the file, found when not given: fingerprints see it, and a file that has changed since is refused."""

    kind: ClassVar[Kind] = "row"
    family: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("tokenizers",)
    """What is imported when the transform is named, at the top of a script, if it is there: as long as a batch takes."""

    def __post_init__(self) -> None:
        if not isinstance(self.tokenizer, str) and hasattr(self.tokenizer, "__fspath__"):
            object.__setattr__(self, "tokenizer", str(self.tokenizer))
        if not self.into or not self.tokenizer:
            raise SpecError(
                f"Tokenize: tokenizer is {self.tokenizer!r} and into is {self.into!r}; expected the path of a tokenizer.json "
                "and the name of a column"
            )
        if not self.digest:
            text = self._text()
            _refuse_dropout(text)
            object.__setattr__(self, "digest", hashlib.sha256(text).hexdigest())

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return (self.column,)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        typed(self, schema, (self.column,), textual, expected=TEXT)
        if self.into != self.column and self.into in schema.names:
            raise SchemaError(f"Tokenize: there is a column {self.into!r} already; give another name with into=")
        at = schema.get_field_index(self.column)
        return schema.set(at, pa.field(self.into, pa.list_(pa.int32()), nullable=schema.field(at).nullable))

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        after, at, encoder = self.output_schema(schema), schema.get_field_index(self.column), self._encoder()

        def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
            columns = batch.columns
            columns[at] = _encoded(columns[at], encoder)
            return pa.RecordBatch.from_arrays(columns, schema=after)

        return apply

    def _text(self) -> bytes:
        """The tokenizer's JSON, its lines ended as on this system."""
        if self.tokenizer.lstrip().startswith("{"):
            return self.tokenizer.encode()
        try:
            return _plain_lines(Path(self.tokenizer).read_bytes())
        except OSError as error:
            raise SpecError(
                f"Tokenize: tokenizer {self.tokenizer!r} cannot be read ({error.strerror}); expected the path of a "
                "tokenizer.json, as Tokenizer.save and Hugging Face models write it, or its JSON"
            ) from error

    def _encoder(self) -> TextEncoder:
        text = self._text()
        found = hashlib.sha256(text).hexdigest()
        if found != self.digest:
            raise SpecError(
                f"Tokenize: {self.tokenizer!r} has SHA-256 {found[:12]}...; expected {self.digest[:12]}..., as when this step "
                "was made; bring the old file back, or make the step anew, which changes the fingerprint of what follows"
            )
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise SpecError("Tokenize needs tokenizers, which is not installed; pip install 'forebay[text]'") from error
        try:
            made = Tokenizer.from_buffer(text)
        except Exception as error:  # the library raises plain Exception
            raise SpecError(f"Tokenize: {self.tokenizer[:80]!r} is no tokenizer of the library: {error}") from error
        _refuse(getattr(made.model, "dropout", None))
        made.no_truncation()
        made.no_padding()
        # each call would otherwise spread over all processors, beside the threads, ranks or processes that call it
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        special = self.special_tokens

        def encode(texts: list[str]) -> list[Any]:
            found: list[Any] = made.encode_batch_fast(texts, add_special_tokens=special)
            return found

        alone = words_alone(made, special=special)
        return FirstTogether(encode, RememberedWords(encode, added_tokens(made)) if alone else LibraryCalls(encode))


def _plain_lines(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _refuse_dropout(text: bytes) -> None:
    """The file is parsed only where it may hold a dropout or is no object: a look at it is not to take as long as a batch."""
    if text.strip()[:1] + text.strip()[-1:] == b"{}" and _DROPOUT.search(text) is None:
        return
    try:
        model = json.loads(text).get("model") or {}
    except (ValueError, AttributeError) as error:
        raise SpecError(f"Tokenize: the tokenizer is no JSON object ({error}); expected a tokenizer.json") from error
    _refuse(model.get("dropout"))


def _refuse(dropout: float | None) -> None:
    if dropout:
        raise SpecError(
            f"Tokenize: the tokenizer's BPE has dropout {dropout}, so the same text would give other tokens each time; "
            "set dropout to null in the file"
        )


def _encoded(column: pa.Array, encoder: TextEncoder) -> pa.Array:
    """Lists of ids."""
    offsets, data = text_bytes(column)
    starts, stops = offsets[:-1], offsets[1:]
    here = valid(column) if column.null_count else None
    values, lengths = encoder.encode(data, starts, stops if here is None else np.where(here, stops, starts))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise SchemaError(
            f"Tokenize: a record batch of {len(column)} texts has {offsets[-1]} tokens; a list column holds 2**31 - 1: write the "
            "source with smaller row groups"
        )
    if here is not None:  # what an empty text gives in the place of a null is taken out
        values = values[np.repeat(here, lengths)]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(here, lengths, 0))])
    # by way of buffers: `pa.array` imports pandas, a third of a second before the first batch
    flat = pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)])
    ends = pa.py_buffer(offsets.astype(np.int32))
    kind = pa.list_(pa.int32())
    return pa.Array.from_buffers(kind, len(column), [validity(column), ends], column.null_count, children=[flat])
