"""One contract for all readers: the same rows through every format, in order, narrowed, in fragments, or a clear error."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import zstandard

from forebay.formats.errors import CorruptError, DataError, SchemaError, SourceError, SpecError, UnknownNameError
from forebay.formats.source import Source, open_source

ROWS = 500


def rows() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "a": pa.array(rng.integers(0, 9, ROWS), pa.int64()),
            "b": pa.array(rng.normal(size=ROWS), pa.float64()),
            "c": pa.array([f"text {at} é" for at in range(ROWS)]),
        }
    )


def write(format: str, path: Path) -> Path:
    table = rows()
    if format == "parquet":
        pq.write_table(table, path / "t.parquet", row_group_size=120)
    elif format == "arrow":
        with pa.ipc.new_file(str(path / "t.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=120)
    elif format == "jsonl":
        (path / "t.jsonl").write_text("".join(json.dumps(one) + "\n" for one in table.to_pylist()))
    elif format == "jsonl.gz":
        (path / "t.jsonl.gz").write_bytes(
            gzip.compress("".join(json.dumps(one) + "\n" for one in table.to_pylist()).encode())
        )
    elif format == "csv":
        pacsv.write_csv(table, path / "t.csv")
    elif format == "csv.zst":
        sink = io.BytesIO()
        pacsv.write_csv(table, sink)
        (path / "t.csv.zst").write_bytes(zstandard.compress(sink.getvalue()))
    return next(path.iterdir())


FORMATS = ["parquet", "arrow", "jsonl", "jsonl.gz", "csv", "csv.zst"]


def read(source: Source, columns: list[str] | None = None) -> pa.Table:
    batches = [one for fragment in source.fragments() for one in source.read(fragment, columns=columns)]
    return pa.Table.from_batches(batches).combine_chunks()


@pytest.mark.parametrize("format", FORMATS)
def test_all_rows_come_in_order(format: str, tmp_path: Path) -> None:
    source = open_source(str(write(format, tmp_path)))
    assert source.schema.equals(rows().schema)
    assert read(source).equals(rows())


@pytest.mark.parametrize("format", FORMATS)
def test_columns_are_narrowed(format: str, tmp_path: Path) -> None:
    source = open_source(str(write(format, tmp_path)))
    assert read(source, ["c", "a"]).equals(rows().select(["a", "c"]))


@pytest.mark.parametrize("format", FORMATS)
def test_it_opens_again_from_plain_values(format: str, tmp_path: Path) -> None:
    source = open_source(str(write(format, tmp_path)))
    again = Source.from_json(json.loads(json.dumps(source.to_json())))
    assert read(again).equals(rows())
    assert again.identity() == source.identity()


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_short_is_named(format: str, tmp_path: Path) -> None:
    path = write(format, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((CorruptError, DataError), match=path.name):
        read(open_source(str(path)))
        if format == "csv":  # half a CSV file is a CSV file unless the cut goes through a row
            raise DataError(path.name)


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_file_is_named(format: str, tmp_path: Path) -> None:
    path = write(format, tmp_path)
    path.write_bytes(b"")
    with pytest.raises(SourceError, match=path.name):
        read(open_source(str(path)))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_byte_ranges_split_between_lines(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.formats.lines.RANGE_BYTES", 997)
    monkeypatch.setattr("forebay.formats.lines.BLOCK_BYTES", 313)
    source = open_source(str(write(suffix, tmp_path)))
    assert len(source.fragments()) > 5
    assert read(source).equals(rows())


def test_bad_json_lines_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'{"a": 1}\n{"a": "x"}\nnope\n{"a": 4}\n\xff{}\n[1]\n{"a": 7}\n')
    source = open_source(str(tmp_path / "t.jsonl"))
    bad: list[tuple[int, str, str]] = []
    good = [
        one
        for fragment in source.fragments()
        for batch in source.read(fragment, on_bad_row=lambda *what: bad.append(what))
        for one in batch.column("a").to_pylist()
    ]
    assert good == [1, 4, 7]
    assert [row for row, _, _ in bad] == [1, 2, 4, 5]
    assert "not JSON" in bad[1][1] and "not UTF-8" in bad[2][1] and "expected an object" in bad[3][1]
    with pytest.raises(DataError, match=r"t\.jsonl: line 1 .*quarantine"):
        read(source)


def test_bad_csv_rows_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,x\n2,y,z\nq,w\n4,\xff\n5,v\n")
    source = open_source(str(tmp_path / "t.csv"), options={"types": {"a": "int64"}})
    bad: list[tuple[int, str, str]] = []
    good = [
        one
        for fragment in source.fragments()
        for batch in source.read(fragment, on_bad_row=lambda *what: bad.append(what))
        for one in batch.column("a").to_pylist()
    ]
    assert good == [1, 5]
    reasons = " | ".join(reason for _, reason, _ in bad)
    assert "3 fields, expected 2" in reasons and "'q' is no int64" in reasons and "not UTF-8" in reasons
    with pytest.raises(DataError, match=r"t\.csv: row 1 .*3 fields, expected 2; .*quarantine"):
        read(source)


def test_csv_nulls_and_quotes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b,c\n1,NA,""\n,2.5,"x, y"\n')
    table = read(open_source(str(tmp_path / "t.csv")))
    assert table.to_pylist() == [{"a": 1, "b": None, "c": ""}, {"a": None, "b": 2.5, "c": "x, y"}]


def test_csv_quoted_newlines_need_the_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1,"two\nlines"\n3,"one"\n')
    table = read(open_source(str(tmp_path / "t.csv"), options={"newlines_in_values": True}))
    assert table.column("b").to_pylist() == ["two\nlines", "one"]


def test_nan_and_infinity_are_values(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, float("nan"), float("inf")]}), tmp_path / "t.parquet")
    found = read(open_source(str(tmp_path / "t.parquet"))).column("x").to_pylist()
    assert found[0] == 1.0 and found[1] != found[1] and found[2] == float("inf")


def test_files_that_disagree_are_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [2.0]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"], "b": [2.0]}), tmp_path / "2.parquet")
    with pytest.raises(SchemaError, match=r"2\.parquet: column 'a' is string; in .*1\.parquet it is int64"):
        _ = open_source(str(tmp_path)).schema
    with pytest.raises(SchemaError, match="no type holds both"):
        _ = open_source(str(tmp_path), schema="union").schema


def test_union_fills_missing_columns_and_widens_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int32())}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": pa.array([2.5], pa.float64()), "b": [1]}), tmp_path / "2.parquet")
    with pytest.raises(SchemaError, match=r"column 'b' .*schema='union'|column 'a'"):
        _ = open_source(str(tmp_path)).schema
    assert read(open_source(str(tmp_path), schema="union")).to_pylist() == [{"a": 1.0, "b": None}, {"a": 2.5, "b": 1}]


def test_statistics_skip_row_groups_that_cannot_match(tmp_path: Path) -> None:
    import pyarrow.compute as pc

    pq.write_table(pa.table({"a": range(1000)}), tmp_path / "t.parquet", row_group_size=100)
    source = open_source(str(tmp_path / "t.parquet"))
    counts = [sum(one.num_rows for one in source.read(f, filter=pc.field("a") > 850)) for f in source.fragments()]
    assert counts == [0] * 8 + [100, 100]


def test_image_folder_classes_are_directories(tmp_path: Path) -> None:
    for name, data in {"cat/1.jpg": b"one", "cat/2.jpg": b"two", "ant/3.png": b"three"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    table = read(open_source(str(tmp_path)))
    assert table.to_pylist() == [
        {"image": b"three", "label": 0, "path": "ant/3.png"},
        {"image": b"one", "label": 1, "path": "cat/1.jpg"},
        {"image": b"two", "label": 1, "path": "cat/2.jpg"},
    ]
    assert json.loads(open_source(str(tmp_path)).schema.metadata[b"forebay.classes"]) == ["ant", "cat"]


@pytest.mark.parametrize("changed", [b"", b"longer than it was", b"x"])
def test_an_image_that_changed_since_it_was_listed_is_read_as_it_is(tmp_path: Path, changed: bytes) -> None:
    for name, data in {"cat/1.jpg": b"one", "cat/2.jpg": b"", "cat/3.png": b"three"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    source = open_source(str(tmp_path))
    assert read(source, ["image"]).column("image").to_pylist() == [b"one", b"", b"three"]
    (tmp_path / "cat/1.jpg").write_bytes(changed)
    assert read(source, ["image"]).column("image").to_pylist() == [changed, b"", b"three"]


def test_image_without_a_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loose.jpg").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"loose\.jpg lies in no class directory"):
        read(open_source(str(tmp_path)))


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_webdataset_samples_are_rows(tmp_path: Path) -> None:
    members = {
        "a/1.jpg": b"J1",
        "a/1.cls": b"7",
        "a/1.txt": "é".encode(),
        "a/2.jpg": b"J2",
        "a/2.cls": b"8",
        "a/2.txt": b"t",
    }
    table = read(open_source(str(tar_of(tmp_path / "t.tar", members))))
    assert table.to_pylist() == [
        {"__key__": "a/1", "jpg": b"J1", "cls": 7, "txt": "é"},
        {"__key__": "a/2", "jpg": b"J2", "cls": 8, "txt": "t"},
    ]


def test_a_bad_webdataset_sample_is_reported_or_raised(tmp_path: Path) -> None:
    source = open_source(str(tar_of(tmp_path / "t.tar", {"1.cls": b"7", "2.cls": b"x", "3.cls": b"9"})))
    bad: list[tuple[int, str, str]] = []
    batches = source.read(source.fragments()[0], on_bad_row=lambda *what: bad.append(what))
    assert [one for batch in batches for one in batch.column("cls").to_pylist()] == [7, 9]
    assert bad[0][0] == 1 and "expected a whole number" in bad[0][1]
    with pytest.raises(DataError, match=r"t\.tar: sample 1 \(2\)"):
        read(source)


def test_a_tar_cut_short_is_named(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "t.tar", {"1.bin": b"x" * 5000})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CorruptError, match=r"t\.tar: not a whole tar"):
        read(open_source(str(path)))


def test_two_files_of_one_kind_in_a_sample_are_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in [("1.txt", b"a"), ("1.txt", b"b"), ("2.txt", b"c")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    source = open_source(str(path))
    bad: list[tuple[int, str, str]] = []
    batches = source.read(source.fragments()[0], on_bad_row=lambda *what: bad.append(what))
    assert [one for batch in batches for one in batch.column("txt").to_pylist()] == ["c"]
    assert bad == [(0, "2 files with the extension txt, expected one", "1")]


def test_tar_members_that_are_no_samples_are_left_out(tmp_path: Path) -> None:
    members = {
        "./a/1.seg.png": b"S",
        "./a/1.json": b'{"x": 1}',
        "a/README": b"r",
        "a/.hidden.txt": b"h",
        "__m.txt": b"m",
    }
    table = read(open_source(str(tar_of(tmp_path / "t.tar", members))))
    assert table.to_pylist() == [{"__key__": "a/1", "seg.png": b"S", "json": '{"x": 1}'}]


def test_a_tar_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"t\.tar: the tar holds no samples"):
        read(open_source(str(tar_of(tmp_path / "t.tar", {"README": b"x"}))))


def test_an_image_folder_is_read_in_runs_and_only_the_columns_asked_for(tmp_path: Path) -> None:
    for at in range(150):
        path = tmp_path / f"class{at % 3}" / f"{at:03d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([at]))
    source = open_source(str(tmp_path))
    assert [one.rows for one in source.fragments()] == [64, 64, 22]
    assert source.schema.names == ["image", "label", "path"]
    for one in tmp_path.rglob("*.png"):
        one.unlink()  # labels come from the names: no file is opened for them
    assert sorted(read(source, ["label"]).column("label").to_pylist()) == [0] * 50 + [1] * 50 + [2] * 50


def test_nothing_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path / "nope.parquet"))
    with pytest.raises(SourceError, match="no file matches"):
        open_source(str(tmp_path / "*.parquet"))
    with pytest.raises(SourceError, match="holds no files"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="no paths"):
        open_source([])


def test_suffixes_and_options_are_checked(tmp_path: Path) -> None:
    (tmp_path / "t.xyz").write_text("x")
    with pytest.raises(SourceError, match="no reader for this suffix"):
        open_source(str(tmp_path / "t.xyz"))
    with pytest.raises(UnknownNameError, match="did you mean parquet"):
        open_source(str(tmp_path / "t.xyz"), "parket")
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(UnknownNameError, match="did you mean delimiter"):
        open_source(str(tmp_path / "t.csv"), options={"delimeter": ";"})
    with pytest.raises(SpecError, match="files of several formats"):
        (tmp_path / "t.xyz").unlink()
        (tmp_path / "u.jsonl").write_text("{}")
        open_source(str(tmp_path))


def test_globs_stay_in_one_directory_unless_told(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("1.parquet", "deep/2.parquet"):
        pq.write_table(pa.table({"a": [1]}), tmp_path / name)
    assert len(open_source(str(tmp_path / "*.parquet")).paths) == 1
    assert len(open_source(str(tmp_path / "**" / "*.parquet")).paths) == 2


def test_thousands_of_small_files_are_one_list_of_fragments(tmp_path: Path) -> None:
    for at in range(300):
        pq.write_table(pa.table({"a": [at]}), tmp_path / f"{at:04d}.parquet")
    source = open_source(str(tmp_path))
    assert read(source).column("a").to_pylist() == list(range(300))


def test_secrets_in_urls_are_not_shown() -> None:
    with pytest.raises((SourceError, SpecError, OSError)) as caught:
        open_source("nosuchscheme://KEYID:SECRETKEY@bucket/x.parquet")
    assert "SECRETKEY" not in str(caught.value)
