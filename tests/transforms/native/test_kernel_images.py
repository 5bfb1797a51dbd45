"""Kernels from their images: the same results as from Numba, without Numba, and Numba wherever an image is not fit."""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.kernel_calls import CALLS

import forebay.transforms.kernels
from forebay.transforms import compiled
from forebay.transforms.native import image
from forebay.transforms.native.elf import Code, Object, UnfitError
from forebay.transforms.native.from_numba import image_of
from forebay.transforms.native.mapped import MappedCode

pytestmark = pytest.mark.skipif(
    not image.supported(), reason="images are made for Linux on x86-64, with compiled kernels"
)
MODULES = [one.name for one in pkgutil.iter_modules(forebay.transforms.kernels.__path__) if one.name != "user"]


LEFT_TO_NUMBA = {"collapse_into", "compose_into"}
"""They copy slices, for which Numba calls its own runtime."""


def native(name: str) -> dict[str, object]:
    module = importlib.import_module(f"forebay.transforms.kernels.{name}")
    return compiled._mapped(name, *image_of(module))


@pytest.mark.parametrize("name", MODULES)
def test_kernels_and_constants_of_a_module_are_in_its_image(name):
    module = importlib.import_module(f"forebay.transforms.kernels.{name}")
    found = native(name)
    assert {one for one in vars(module) if one.endswith("_into")} - set(found) <= LEFT_TO_NUMBA
    assert {
        one: found[one] for one, value in vars(module).items() if one.isupper() and type(value) in (int, float)
    } == {one: value for one, value in vars(module).items() if one.isupper() and type(value) in (int, float)}


@pytest.mark.parametrize("case", CALLS, ids=[f"{one.module}.{one.kernel}-{at}" for at, one in enumerate(CALLS)])
def test_a_kernel_from_an_image_gives_what_numba_gives(case):
    module = importlib.import_module(f"forebay.transforms.kernels.{case.module}")
    expected, found = case.arguments(), case.arguments()
    getattr(module, case.kernel)(*expected)
    native(case.module)[case.kernel](*found)
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other)


def test_arrays_that_no_signature_names_are_refused_as_numba_refuses_them():
    permute = native("permute")["permute_into"]
    positions, keys, out = np.arange(4), np.arange(6, dtype=np.uint64), np.empty(4, np.int64)
    locked = out.copy()
    locked.flags.writeable = False
    for given in (
        (positions.astype(np.int32), 10, keys, out),
        (np.arange(8)[::2], 10, keys, out),
        (positions[None], 10, keys, out),
        (positions.astype(">i8"), 10, keys, out),
        (positions, 10, keys, locked),
        (list(positions), 10, keys, out),
        (positions, 10, keys),
    ):
        with pytest.raises(TypeError):
            permute(*given)


def test_arrays_of_a_derived_class_are_taken_as_plain_ones(tmp_path):
    kept = np.memmap(tmp_path / "positions", np.int64, "w+", shape=(4,))
    kept[:] = [3, 0, 1, 2]
    keys, out, expected = np.arange(6, dtype=np.uint64), np.empty(4, np.int64), np.empty(4, np.int64)
    native("permute")["permute_into"](kept, 10, keys, out)
    native("permute")["permute_into"](np.array(kept), 10, keys, expected)
    assert (out == expected).all()


def test_a_process_that_finds_images_does_not_import_numba(tmp_path):
    code = (
        "import sys, numpy as np; from forebay.engine.order import permute; "
        "print(permute(1000, 7, np.arange(5)).tolist(), 'numba' in sys.modules)"
    )
    said = [run(code, tmp_path) for _ in range(2)]
    assert said[0].split("] ")[0] == said[1].split("] ")[0]
    assert [one.split("] ")[1] for one in said] == ["True", "False"]


def test_without_compilation_kernels_are_python(tmp_path):
    code = (
        "from forebay.engine.order import permute; import numpy as np; print(permute(1000, 7, np.arange(5)).tolist())"
    )
    assert run(code, tmp_path) == run(code, tmp_path, NUMBA_DISABLE_JIT="1")
    assert len(list(tmp_path.rglob("*.image"))) == 1


@pytest.mark.parametrize("harm", ["cut", "changed", "empty", "foreign"])
def test_a_damaged_image_is_as_if_it_were_not_there(tmp_path, monkeypatch, harm):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    path = image.write("permute", {"functions": {}}, b"code")
    assert path is not None and image.read("permute") is not None
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-40] ^= 1
    path.write_bytes({"cut": whole[:-9], "changed": bytes(changed), "empty": b"", "foreign": b"x" * 400}[harm])
    assert image.read("permute") is None


def test_an_image_of_another_source_or_setting_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    image.write("permute", {}, b"")
    monkeypatch.setattr(image, "_source", lambda name: [0, 0])
    assert image.read("permute") is None
    monkeypatch.undo()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_OPT", "1")
    image.machine.cache_clear()
    try:
        assert image.read("permute") is None
    finally:
        monkeypatch.delenv("NUMBA_OPT")
        image.machine.cache_clear()
    assert image.read("permute") is not None


def test_where_nothing_can_be_written_there_is_no_image(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/none")
    assert image.write("permute", {}, b"") is None and image.read("permute") is None


def test_what_is_no_object_or_calls_for_more_than_the_c_library_is_unfit():
    with pytest.raises(UnfitError, match="not a relocatable object"):
        Object(b"\x7fELF but not really, or not at all")
    with pytest.raises(UnfitError, match="not in the C library"):
        MappedCode(bytes(8), [], [(0, "no_such_function_anywhere")])
    module = importlib.import_module("forebay.transforms.kernels.permute")
    header, _ = image_of(module)
    assert set(header["functions"]) == {"permute_into", "windows_into"} and not header["external"]
    assert not Code().symbols


def test_a_kernel_that_no_image_holds_is_numbas(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    image.write("permute", *image_of(importlib.import_module("forebay.transforms.kernels.text")))
    module = compiled.KernelModule("permute")
    assert hasattr(module.permute_into, "overloads")
    with pytest.raises(AttributeError):
        _ = module.no_such_kernel


def test_an_image_that_cannot_be_mapped_leaves_the_work_to_numba(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    header, code = image_of(importlib.import_module("forebay.transforms.kernels.permute"))
    image.write("permute", {**header, "external": [(0, "no_such_function_anywhere")]}, code)
    found = compiled._found("permute")
    assert hasattr(found["permute_into"], "overloads")


def run(code: str, cache: Path, **settings: str) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **settings}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
