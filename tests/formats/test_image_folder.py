"""Image folders: a class is a directory, a row a file, read in runs and only as asked."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from forebay.formats.errors import SourceError
from forebay.formats.source import Source, open_source


def read(source: Source, columns: list[str] | None = None) -> pa.Table:
    batches = [one for fragment in source.fragments() for one in source.read(fragment, columns=columns)]
    return pa.Table.from_batches(batches).combine_chunks()


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
