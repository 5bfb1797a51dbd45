"""CSV: no row is lost or made up, wherever blocks end; what does not parse is named with its position."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.formats.errors import CorruptError, DataError, SourceError, SpecError, UnknownNameError
from forebay.formats.source import open_source

Bad = list[tuple[int, str, str]]


def read(path: Path, bad: Bad | None = None, **options: Any) -> pa.Table:
    source = open_source(str(path), options=options)
    report = None if bad is None else lambda *what: bad.append(what)
    batches = [one for part in source.fragments() for one in source.read(part, on_bad_row=report)]
    return pa.Table.from_batches(batches, schema=source.schema)


def file(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.formats.lines.BLOCK_BYTES", 37)


def test_a_quote_left_open_swallows_no_row(tmp_path: Path) -> None:
    bad: Bad = []
    table = read(file(tmp_path, 'a,b\n1,x\n2,"y\n3,z\n4,w\n'), bad)
    assert table.column("a").to_pylist() == [1, 3, 4]
    assert [(row, text) for row, _, text in bad] == [(1, '2,"y')]
    assert "a quote is left open on the line" in bad[0][1] and "newlines_in_values=True" in bad[0][1]
    with pytest.raises(DataError, match=r"t\.csv: row 1 .*quote is left open.*newlines_in_values"):
        read(file(tmp_path, 'a,b\n1,x\n2,"y\n3,z\n4,w\n'))


@pytest.mark.usefixtures("small_blocks")
def test_a_quote_left_open_where_a_block_ends_is_seen(tmp_path: Path) -> None:
    lines = [f'{at},"text\n' if at % 7 == 0 else f"{at},text\n" for at in range(40)]
    bad: Bad = []
    table = read(file(tmp_path, "a,b\n" + "".join(lines)), bad)
    assert table.column("a").to_pylist() == [at for at in range(40) if at % 7]
    assert [row for row, _, _ in bad] == [0, 7, 14, 21, 28, 35]


def test_a_quote_within_a_field_is_text(tmp_path: Path) -> None:
    table = read(file(tmp_path, 'a,b\n1,5" pipe\n2,"say ""hi"", twice"\n'))
    assert table.column("b").to_pylist() == ['5" pipe', 'say "hi", twice']


FIELDS = st.text(alphabet='ab,"\n é', max_size=6)


@given(rows=st.lists(st.tuples(st.integers(0, 99), FIELDS, FIELDS), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_fields_with_newlines_survive_any_block_size(
    rows: list[tuple[int, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["n", "x", "y"])
    writer.writerows(rows)
    path = file(tmp_path_factory.mktemp("csv"), text.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forebay.formats.lines.BLOCK_BYTES", 23)
        table = read(path, newlines_in_values=True, types={"n": "int64", "x": "string", "y": "string"})
    assert [tuple(one.values()) for one in table.to_pylist()] == rows


def test_rows_with_newlines_can_be_bad_too(tmp_path: Path) -> None:
    bad: Bad = []
    text = 'a,b\n1,"x\ny"\nbad,"u\nv"\n3\n4,"w"\n'
    table = read(file(tmp_path, text), bad, newlines_in_values=True, types={"a": "int64"})
    assert table.to_pylist() == [{"a": 1, "b": "x\ny"}, {"a": 4, "b": "w"}]
    assert [(row, reason) for row, reason, _ in bad] == [
        (1, "column 'a': 'bad' is no int64"),
        (2, "1 fields, expected 2"),
    ]


@pytest.mark.usefixtures("small_blocks")
def test_positions_count_rows_and_not_blank_lines(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{at},x" for at in range(10)), "", "no,x", "11,x,y", "", *(f"{at},x" for at in range(12, 20))]
    bad: Bad = []
    table = read(file(tmp_path, "\r\n".join(lines) + "\r\n"), bad, types={"a": "int64"})
    assert table.column("a").to_pylist() == [*range(10), *range(12, 20)]
    assert [row for row, _, _ in bad] == [10, 11]


def test_nan_and_infinity_are_numbers(tmp_path: Path) -> None:
    found = read(file(tmp_path, "x,s\n1,NaN\nnan,b\n-inf,c\n,\n")).to_pydict()
    assert found["x"][0] == 1.0 and found["x"][1] != found["x"][1] and found["x"][2:] == [float("-inf"), None]
    assert found["s"] == ["NaN", "b", "c", None]


def test_columns_of_nulls_only_are_text_and_agree_with_any(tmp_path: Path) -> None:
    file(tmp_path, "a,b\n1,\n", "1.csv")
    file(tmp_path, "a,b\n2,5\n", "2.csv")
    assert read(tmp_path).to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": 5}]
    assert read(tmp_path / "1.csv").schema.field("b").type == pa.string()


def test_a_header_alone_is_no_rows(tmp_path: Path) -> None:
    table = read(file(tmp_path, "a,b\n"))
    assert table.num_rows == 0 and table.schema.names == ["a", "b"]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read(file(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")).schema.names == ["a", "b"]


def test_utf_16_is_said(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=r"t\.csv: the text is UTF-16, expected UTF-8; convert it"):
        read(file(tmp_path, "a,b\n1,2\n".encode("utf-16")))


def test_latin_1_rows_are_bad_rows(tmp_path: Path) -> None:
    bad: Bad = []
    table = read(file(tmp_path, "a,b\n1,caf\xe9\n2,tea\n".encode("latin-1")), bad)
    assert table.to_pylist() == [{"a": 2, "b": "tea"}]
    assert [(row, reason) for row, reason, _ in bad] == [(0, "not UTF-8")]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_compressed_file_cut_short_is_named(suffix: str, tmp_path: Path) -> None:
    text = ("a,b\n" + "".join(f"{at},{at * 7919 % 104729}\n" for at in range(50_000))).encode()
    data = gzip.compress(text) if suffix == "gz" else zstandard.compress(text)
    with pytest.raises(CorruptError, match=rf"t\.csv\.{suffix}: the compressed stream is broken or cut short"):
        read(file(tmp_path, data[: len(data) // 2], f"t.csv.{suffix}"))
    assert read(file(tmp_path, data, f"t.csv.{suffix}")).num_rows == 50_000


def test_gzip_members_one_after_another_are_one_file(tmp_path: Path) -> None:
    data = gzip.compress(b"a\n1\n") + gzip.compress(b"2\n")
    assert read(file(tmp_path, data, "t.csv.gz")).column("a").to_pylist() == [1, 2]


def test_a_name_twice_in_the_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=r"t\.csv: the header names a column twice: a, b, a"):
        read(file(tmp_path, "a,b,a\n1,2,3\n"))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"t\.csv: the file is empty"):
        read(file(tmp_path, ""))


def test_settings_are_checked(tmp_path: Path) -> None:
    path = file(tmp_path, "a;b\n1;2\n")
    assert read(path, delimiter=";").schema.names == ["a", "b"]
    with pytest.raises(SpecError, match="delimiter is '::'; expected one character"):
        read(path, delimiter="::")
    with pytest.raises(SpecError, match="column 'a' is 'int46', which is no Arrow type; write int64"):
        read(path, types={"a": "int46"})
    with pytest.raises(UnknownNameError, match="unknown column 'A' in csv types"):
        read(path, delimiter=";", types={"A": "int64"})


def test_tabs_part_the_fields_of_tsv(tmp_path: Path) -> None:
    assert read(file(tmp_path, "a\tb,c\n1\t2\n", "t.tsv")).to_pylist() == [{"a": 1, "b,c": 2}]


def test_bad_csv_rows_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,x\n2,y,z\nq,w\n4,\xff\n5,v\n")
    bad: Bad = []
    assert read(tmp_path / "t.csv", bad, types={"a": "int64"}).column("a").to_pylist() == [1, 5]
    reasons = " | ".join(reason for _, reason, _ in bad)
    assert "3 fields, expected 2" in reasons and "'q' is no int64" in reasons and "not UTF-8" in reasons
    with pytest.raises(DataError, match=r"t\.csv: row 1 .*3 fields, expected 2; .*quarantine"):
        read(tmp_path / "t.csv", types={"a": "int64"})


def test_csv_nulls_and_quotes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b,c\n1,NA,""\n,2.5,"x, y"\n')
    table = read(tmp_path / "t.csv")
    assert table.to_pylist() == [{"a": 1, "b": None, "c": ""}, {"a": None, "b": 2.5, "c": "x, y"}]


def test_csv_quoted_newlines_need_the_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1,"two\nlines"\n3,"one"\n')
    table = read(tmp_path / "t.csv", newlines_in_values=True)
    assert table.column("b").to_pylist() == ["two\nlines", "one"]
