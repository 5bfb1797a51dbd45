"""Cleaning of text columns: TrimText, NormalizeUnicode, FixText. Null stays null, an empty text stays empty."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forebay.formats.errors import SpecError
from forebay.transforms.column_names import TEXT, set_columns, textual, typed
from forebay.transforms.compiled import kernels
from forebay.transforms.text_column import text_bytes, text_column, text_room
from forebay.transforms.transform import Apply, Kind, Rows, State
from forebay.transforms.unicode_tables import Form, form_tables

_white_space = kernels("white_space")
_unicode_form = kernels("unicode_form")


@dataclass(frozen=True, slots=True)
class TrimText:
    """Take white space off both ends of each text; optionally make inner runs of it one space.

    White space is what Python's `str.isspace` and `\\s` call so.
    """

    columns: tuple[str, ...]
    inner: bool = field(default=False, kw_only=True)
    """Whether runs of white space within become one space."""
    empty_as_null: bool = field(default=False, kw_only=True)
    """Whether a text with nothing left becomes null."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 2
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        made = _text_schema(self, schema)
        for name in self.columns if self.empty_as_null else ():
            at = made.get_field_index(name)
            made = made.set(at, made.field(at).with_nullable(True))
        return made

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        def trim(column: pa.Array) -> pa.Array:
            column = _trimmed(column, inner=self.inner)
            if self.empty_as_null:
                column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
            return column

        return _on_text(self, schema, trim)


@dataclass(frozen=True, slots=True)
class NormalizeUnicode:
    """Bring text into one of Unicode's normal forms (UAX 15), so that equal looking texts are equal.

    Columns of strings, in their own type. Null stays null.
    """

    columns: tuple[str, ...]
    form: Form = field(default="NFC", kw_only=True)
    """NFC composes accents; NFKC also replaces look-alikes (ligatures, full-width letters), which loses
    distinctions."""

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)
        if self.form not in ("NFC", "NFKC", "NFD", "NFKD"):
            raise SpecError(f"NormalizeUnicode: form is {self.form!r}; expected 'NFC', 'NFKC', 'NFD' or 'NFKD'")

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _text_schema(self, schema)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        return _on_text(self, schema, lambda column: _normalized(column, self.form))


@dataclass(frozen=True, slots=True)
class FixText:
    """Mend text that was decoded with the wrong encoding ("sÃ³" becomes "só"), by ftfy.

    Only texts that are not plain ASCII are looked at: ftfy changes ASCII only in its entities and control characters,
    which stay. Needs `pip install 'forebay[text]'`. Python code, one text at a time.
    """

    columns: tuple[str, ...]

    kind: ClassVar[Kind] = "row"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_columns(self)

    def reads(self, schema: pa.Schema) -> tuple[str, ...]:
        return self.columns

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        return _text_schema(self, schema)

    def bind(self, schema: pa.Schema, state: State | None, op: int) -> Apply:
        try:
            import ftfy
        except ImportError as error:
            raise SpecError("FixText needs ftfy, which is not installed; pip install 'forebay[text]'") from error

        def mend(column: pa.Array) -> pa.Array:
            strange = pc.fill_null(pc.invert(pc.string_is_ascii(column)), False)
            texts = column.filter(strange)
            mended = pa.array([ftfy.fix_text(text.as_py(), unescape_html=False) for text in texts], column.type)
            return pc.replace_with_mask(column, strange, mended)

        return _on_text(self, schema, mend)


def _trimmed(column: pa.Array, *, inner: bool) -> pa.Array:
    offsets, data = text_bytes(column)
    starts, stops, made = np.empty(len(column), np.int64), np.empty(len(column), np.int64), np.empty_like(offsets)
    _white_space.trimmed_into(offsets, data, starts, stops)
    buffer, out = text_room(int((stops - starts).sum()))
    _white_space.collapse_into(starts, stops, data, inner, made, out)
    return text_column(column, made, buffer)


def _normalized(column: pa.Array, form: Form) -> pa.Array:
    """Most texts are in the form, and are found to be; of the others most need no more than pairs composed. The rest is
    the library's."""
    tables = form_tables(form)
    offsets, data = text_bytes(column)
    left = np.empty(len(column), np.uint8)
    _unicode_form.check_into(offsets, data, tables.classes, tables.first, left)
    if not left.any():
        return column
    if not len(tables.pairs):
        return _by_library(column, column, left, form)
    made = np.empty_like(offsets)
    buffer, out = text_room(int(offsets[-1] - offsets[0]))
    _unicode_form.compose_into(
        offsets, data, tables.classes, tables.first, tables.pairs, tables.composed, left, made, out
    )
    return _by_library(column, text_column(column, made, buffer), left, form)


def _by_library(column: pa.Array, made: pa.Array, left: NDArray[np.uint8], form: Form) -> pa.Array:
    """`made`, with the rows of `column` that are left normalized by Arrow in their places."""
    rows = pa.array(left.astype(np.bool_))
    texts = column.filter(rows)
    return pc.replace_with_mask(made, rows, pc.utf8_normalize(texts, form)) if len(texts) else made


def _text_schema(spec: Any, schema: pa.Schema) -> pa.Schema:
    typed(spec, schema, spec.columns, textual, expected=TEXT)
    return schema


def _on_text(spec: Any, schema: pa.Schema, change: Callable[[pa.Array], pa.Array]) -> Apply:
    after = spec.output_schema(schema)

    def apply(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        made = [change(batch.column(name)) if name in spec.columns else batch.column(name) for name in after.names]
        return pa.RecordBatch.from_arrays(made, schema=after)

    return apply
