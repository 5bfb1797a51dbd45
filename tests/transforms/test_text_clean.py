"""TrimText, NormalizeUnicode, FixText."""

import re
import unicodedata

import pyarrow as pa
import pytest
from support.learning import apply

from forebay import transforms as T
from forebay.formats.errors import SchemaError, SpecError


def test_text_is_trimmed_as_python_trims_it():
    texts = ["  a b ", "\u2003x\u00a0", "", None, "\t\n", "plain"]
    batch = pa.RecordBatch.from_pydict({"x": pa.array(texts)})
    assert apply(T.TrimText(["x"]), batch)["x"].to_pylist() == [t and t.strip() for t in texts]
    inner = pa.RecordBatch.from_pydict({"x": pa.array(["a \u00a0\t b", " "])})
    assert apply(T.TrimText(["x"], inner=True), inner)["x"].to_pylist() == ["a b", ""]
    assert apply(T.TrimText(["x"], empty_as_null=True), inner)["x"].to_pylist()[1] is None


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD"])
def test_unicode_is_normalized_as_the_standard_library_does(form):
    texts = ["é", "e\u0301", "ﬁ", "Å", "１２", "", None, "plain"]
    got = apply(T.NormalizeUnicode(["x"], form=form), pa.RecordBatch.from_pydict({"x": pa.array(texts)}))
    assert got["x"].to_pylist() == [t and unicodedata.normalize(form, t) for t in texts]


def test_wrongly_decoded_text_is_mended():
    texts = ["sÃ³", "plain", None, "", "schÃ¶n &amp; gut"]
    got = apply(T.FixText(["x"]), pa.RecordBatch.from_pydict({"x": pa.array(texts)}))
    assert got["x"].to_pylist() == ["só", "plain", None, "", "schön &amp; gut"]


def test_what_is_no_text_is_refused():
    with pytest.raises(SchemaError, match="TrimText: column 'x' is int64; expected text"):
        T.TrimText(["x"]).output_schema(pa.schema([("x", pa.int64())]))
    with pytest.raises(SpecError, match="form is 'NFX'; expected 'NFC'"):
        T.NormalizeUnicode(["x"], form="NFX")


@pytest.mark.parametrize("type", [pa.string(), pa.large_string()])
def test_cleaning_is_the_same_for_slices_and_both_types_of_text(type):
    texts = ["  a\tb ", None, "e\u0301 \u00a0x", "", "\u1100\u1161\u11a8  ", "a\u0323\u0302", "x\u001cy"] * 4
    batch = pa.RecordBatch.from_pydict({"x": pa.array(texts, type)})
    chain = [T.NormalizeUnicode(["x"]), T.TrimText(["x"], inner=True)]

    def clean(text):
        return text and re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()

    for piece, known in ((batch, texts), (batch.slice(5, 11), texts[5:16])):
        for one in chain:
            piece = apply(one, piece)
        piece["x"].validate(full=True)
        assert piece["x"].type == type and piece["x"].to_pylist() == [clean(text) for text in known]
