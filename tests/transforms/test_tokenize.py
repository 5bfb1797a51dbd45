"""Tokenize beside the library itself, text by text."""

import hashlib
import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from support.learning import apply, ids
from support.tokenizers_made import byte_level_bpe, texts, word_piece

import forebay as fb
from forebay import transforms as T
from forebay.engine.graph import Graph
from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms import catalog
from forebay.transforms.fit import load, save_state

pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    byte_level_bpe(special=True).save(str(path))
    return path


def encoded(made, values, **how):
    return [None if one is None else made.encode(one, **how).ids for one in values]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("special", [True, False])
def test_tokens_are_the_librarys_own(file, kind, special):
    from tokenizers import Tokenizer

    values = [*texts(600), "", None, " \n", "é" * 500]
    batch = pa.RecordBatch.from_pydict({"a": pa.array(range(len(values))), "text": pa.array(values, kind)})
    made = apply(T.Tokenize("text", tokenizer=str(file), special_tokens=special), batch)
    assert made.schema.names == ["a", "input_ids"] and made["input_ids"].type == pa.list_(pa.int32())
    wanted = encoded(Tokenizer.from_file(str(file)), values, add_special_tokens=special)
    assert made["input_ids"].to_pylist() == wanted
    sliced = apply(T.Tokenize("text", tokenizer=str(file), special_tokens=special), batch.slice(590), rows=ids(14, 590))
    assert sliced["input_ids"].to_pylist() == wanted[590:]


@pytest.mark.parametrize(("before", "after"), [(None, "false"), ("true", "true")])
def test_texts_are_encoded_in_the_thread_that_asks_unless_the_user_says_otherwise(monkeypatch, file, before, after):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", before or "")
    if before is None:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    apply(T.Tokenize("text", tokenizer=str(file)), pa.RecordBatch.from_pydict({"text": ["a b"]}))
    assert os.environ["TOKENIZERS_PARALLELISM"] == after


def test_truncation_and_padding_of_the_file_are_left_to_the_loader():
    made = word_piece()
    batch = pa.RecordBatch.from_pydict({"text": texts(40)})
    got = apply(T.Tokenize("text", tokenizer=made.to_str()), batch)["input_ids"].to_pylist()
    made.no_truncation(), made.no_padding()
    assert got == encoded(made, batch["text"].to_pylist()) and max(map(len, got)) > 4 and min(map(len, got)) == 0


def test_the_file_is_part_of_the_fingerprint(file, tmp_path):
    one = T.Tokenize("text", tokenizer=file)
    other = tmp_path / "tokenizer.json"
    byte_level_bpe().save(str(other))
    assert len(one.digest) == 64 and one.digest != T.Tokenize("text", tokenizer=str(other)).digest
    before = Graph((T.Tokenize("text", tokenizer=str(other)),), (None,)).fingerprint()
    word_piece().save(str(other))
    assert Graph((T.Tokenize("text", tokenizer=str(other)),), (None,)).fingerprint() != before
    assert catalog.from_json(catalog.to_json(one)) == one


def test_a_file_that_changed_since_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    byte_level_bpe().save(str(path))
    one = T.Tokenize("text", tokenizer=str(path))
    word_piece().save(str(path))
    with pytest.raises(SpecError, match=r"has SHA-256 .*; expected .*bring the old file back"):
        one.bind(pa.schema([("text", pa.string())]), None, 0)


def test_its_json_travels_with_a_state(tmp_path):
    one = T.Tokenize("text", tokenizer=byte_level_bpe().to_str())
    batch = pa.RecordBatch.from_pydict({"text": texts(10)})
    save_state([one], [None], batch.schema, str(tmp_path))
    assert load(tmp_path).transform(batch).equals(apply(one, batch))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("/nowhere/tokenizer.json", "cannot be read .*expected the path of a tokenizer.json"),
        ('{"model"', "is no JSON object"),
        ("", "expected the path of a tokenizer.json"),
    ],
)
def test_what_is_no_tokenizer_is_refused(given, message):
    with pytest.raises(SpecError, match=message):
        T.Tokenize("text", tokenizer=given)


def test_a_json_that_the_library_does_not_know_is_refused():
    with pytest.raises(SpecError, match="is no tokenizer of the library"):
        T.Tokenize("text", tokenizer=json.dumps({"model": {"type": "strange"}})).bind(
            pa.schema([("text", pa.string())]), None, 0
        )


def test_dropout_is_refused():
    with pytest.raises(SpecError, match=r"dropout 0\.1.*set dropout to null"):
        T.Tokenize("text", tokenizer=byte_level_bpe(dropout=0.1).to_str())


@pytest.mark.parametrize("null", ["null", "  null", "\n null"])
def test_a_dropout_of_null_is_none(null, tmp_path):
    text = byte_level_bpe().to_str()
    assert text.count('"dropout":null') == 1
    file = tmp_path / "tokenizer.json"
    file.write_text(text.replace('"dropout":null', f'"dropout":{null}'))
    assert len(T.Tokenize("text", tokenizer=str(file)).digest) == 64
    file.write_text(text.replace('"dropout":null', f'"drop\\u006fut":0.2,"unk_token":{null}'))
    with pytest.raises(SpecError, match=r"dropout 0\.2|no tokenizer of the library"):
        T.Tokenize("text", tokenizer=str(file)).bind(pa.schema([("text", pa.string())]), None, 0)


def test_a_file_with_lines_of_another_system_is_the_same(tmp_path):
    text = json.dumps(json.loads(byte_level_bpe().to_str()), indent=1)
    found = []
    for ends in ("\n", "\r\n"):
        (tmp_path / "tokenizer.json").write_bytes(text.replace("\n", ends).encode())
        found.append(T.Tokenize("text", tokenizer=str(tmp_path / "tokenizer.json")).digest)
    assert found[0] == found[1] == hashlib.sha256(text.encode()).hexdigest()


def test_naming_it_imports_its_library_at_the_top_of_a_script():
    code = "import sys; from forebay import transforms as T; T.Tokenize; print('tokenizers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["True"]


def test_columns_it_cannot_take_are_refused(file):
    one = T.Tokenize("text", tokenizer=str(file))
    with pytest.raises(SchemaError, match="column 'text' is int64; expected text"):
        one.output_schema(pa.schema([("text", pa.int64())]))
    with pytest.raises(SchemaError, match="there is a column 'input_ids' already"):
        one.output_schema(pa.schema([("text", pa.string()), ("input_ids", pa.int64())]))


def test_a_missing_library_names_the_extra(file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(SpecError, match=r"pip install 'forebay\[text\]'"):
        T.Tokenize("text", tokenizer=str(file)).bind(pa.schema([("text", pa.string())]), None, 0)


def test_a_loader_tokenizes_and_packs_on_the_fly(file, tmp_path):
    from tokenizers import Tokenizer

    values = texts(200)
    pa_table = pa.table({"text": values, "number": range(200)})
    with pa.ipc.new_file(str(tmp_path / "documents.arrow"), pa_table.schema) as writer:
        writer.write_table(pa_table, max_chunksize=64)
    ds = fb.scan(str(tmp_path / "documents.arrow")).apply(T.Tokenize("text", tokenizer=str(file)))
    loader = fb.DataLoader(ds, batch_size=16, shuffle=True, num_workers=2, pad=fb.Packed("input_ids"))
    made, seen = Tokenizer.from_file(str(file)), []
    for batch in loader:
        ends = batch["cu_seq_lens_q"].tolist()
        for at, number in enumerate(batch["number"].tolist()):
            seen.append(number)
            assert batch["input_ids"][0, ends[at] : ends[at + 1]].tolist() == made.encode(values[number]).ids
    assert sorted(seen) == list(range(200))
