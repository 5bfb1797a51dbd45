"""JSON Lines: a row is a line; what is no object of the right types is named, and nothing else is lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.formats.errors import CorruptError, DataError, SourceError, SpecError
from forebay.formats.source import open_source

Bad = list[tuple[int, str, str]]


def read(path: Path, bad: Bad | None = None, **options: Any) -> pa.Table:
    source = open_source(str(path), options=options)
    report = None if bad is None else lambda *what: bad.append(what)
    batches = [one for part in source.fragments() for one in source.read(part, on_bad_row=report)]
    return pa.Table.from_batches(batches, schema=source.schema)


def file(folder: Path, lines: list[str | bytes], name: str = "t.jsonl") -> Path:
    path = folder / name
    path.write_bytes(b"".join(one if isinstance(one, bytes) else one.encode() + b"\n" for one in lines))
    return path


LINES = st.sampled_from(
    [
        ('{"a": 1, "b": "x"}', True),
        ('{"b": "\\u00e9\\n", "a": null}', True),
        ("{}", True),
        ('{"a": 7, "c": [1]}', True),
        ('{"a": "text"}', False),
        ('{"a": 1.5}', False),
        ('{"a": 1} {"a": 2}', False),
        ('{"a": 1, "a": 2}', False),
        ("[1]", False),
        ('{"a":', False),
        ("null", False),
    ]
)


@given(chosen=st.lists(LINES, max_size=40), block=st.integers(8, 200))
@settings(max_examples=60, deadline=None)
def test_bad_lines_alone_are_set_aside(
    chosen: list[tuple[str, bool]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = '{"a": 0, "b": "first", "c": [1]}'
    lines = [(first, True), *chosen]
    path = file(tmp_path_factory.mktemp("jsonl"), [text for text, _ in lines])
    bad: Bad = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forebay.formats.lines.BLOCK_BYTES", block)
        patch.setattr("forebay.formats.lines.RANGE_BYTES", 10**9)
        table = read(path, bad, types={"a": "int64", "b": "string"})
    expected = [{"a": None, "b": None, "c": None} | json.loads(text) for text, good in lines if good]
    assert table.to_pylist() == expected
    assert [row for row, _, _ in bad] == [at for at, (_, good) in enumerate(lines) if not good]


def test_reasons_say_what_is_wrong(tmp_path: Path) -> None:
    bad: Bad = []
    read(file(tmp_path, ['{"a": 1}', '{"a": "x"}', '{"a": 1, "a": 2}', "[]", b'{"a": "\xff"}\n', "{a}", ""]), bad)
    reasons = [reason for _, reason, _ in bad]
    assert "from number to string" in reasons[0]
    assert reasons[1] == "key 'a' is there twice"
    assert reasons[2] == "a JSON list, expected an object"
    assert reasons[3] == "not UTF-8"
    assert reasons[4].startswith("not JSON: Expecting property name")
    assert [row for row, _, _ in bad] == [1, 2, 3, 4, 5]


def test_an_object_over_several_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.jsonl: line 1 of the fragment at byte 0: not JSON"):
        read(file(tmp_path, ['{"a": 1}', '{"a":', "2}"]))


def test_a_json_array_is_not_lines(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=r"t\.jsonl: a JSON array, expected one object a line"):
        read(file(tmp_path, ["[", ' {"a": 1},', ' {"a": 2}', "]"]))


def test_nan_and_infinity_are_numbers(tmp_path: Path) -> None:
    found = read(file(tmp_path, ['{"x": 1.5}', '{"x": NaN}', '{"x": -Infinity}'])).column("x").to_pylist()
    assert found[0] == 1.5 and found[1] != found[1] and found[2] == float("-inf")


def test_types_may_be_named(tmp_path: Path) -> None:
    path = file(tmp_path, ['{"day": "2024-01-01", "n": 1}', '{"day": "unknown", "n": 2}'])
    table = read(path, types={"day": "string", "later": "float32"})
    assert table.to_pylist() == [
        {"day": "2024-01-01", "n": 1, "later": None},
        {"day": "unknown", "n": 2, "later": None},
    ]
    with pytest.raises(SpecError, match="jsonl types: column 'n' is 'number'"):
        read(path, types={"n": "number"})


def test_nested_values_and_missing_keys(tmp_path: Path) -> None:
    table = read(file(tmp_path, ['{"a": {"b": [1, 2]}}', '{"c": "é"}']))
    assert table.to_pylist() == [{"a": {"b": [1, 2]}, "c": None}, {"a": None, "c": "é"}]


def test_an_empty_file_and_blank_lines(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"t\.jsonl: the file is empty"):
        read(file(tmp_path, []))
    assert read(file(tmp_path, ["", '{"a": 1}', "", "  ", '{"a": 2}', ""])).column("a").to_pylist() == [1, 2]


def test_a_byte_order_mark_and_utf_16(tmp_path: Path) -> None:
    assert read(file(tmp_path, [b'\xef\xbb\xbf{"a": 1}\n'])).to_pylist() == [{"a": 1}]
    with pytest.raises(CorruptError, match=r"t\.jsonl: the text is UTF-16"):
        read(file(tmp_path, ['{"a": 1}\n'.encode("utf-16")]))


def test_a_compressed_file_cut_short_is_named(tmp_path: Path) -> None:
    data = gzip.compress("".join(f'{{"a": {at * 7919 % 104729}}}\n' for at in range(50_000)).encode())
    with pytest.raises(CorruptError, match=r"t\.jsonl\.gz: the compressed stream is broken or cut short"):
        read(file(tmp_path, [data[: len(data) // 2]], "t.jsonl.gz"))
    assert read(file(tmp_path, [data], "t.jsonl.gz")).num_rows == 50_000


def test_bad_json_lines_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'{"a": 1}\n{"a": "x"}\nnope\n{"a": 4}\n\xff{}\n[1]\n{"a": 7}\n')
    bad: Bad = []
    assert read(tmp_path / "t.jsonl", bad).column("a").to_pylist() == [1, 4, 7]
    assert [row for row, _, _ in bad] == [1, 2, 4, 5]
    assert "not JSON" in bad[1][1] and "not UTF-8" in bad[2][1] and "expected an object" in bad[3][1]
    with pytest.raises(DataError, match=r"t\.jsonl: line 1 .*quarantine"):
        read(tmp_path / "t.jsonl")
