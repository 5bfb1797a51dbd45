"""WebDataset tars: a sample is a row; what is none is left out, what is wrong is named."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from forebay.formats.errors import CorruptError, DataError, SourceError
from forebay.formats.source import Source, open_source


def read(source: Source, columns: list[str] | None = None) -> pa.Table:
    batches = [one for fragment in source.fragments() for one in source.read(fragment, columns=columns)]
    return pa.Table.from_batches(batches).combine_chunks()


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
