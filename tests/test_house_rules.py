"""The house rules that a count can check."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "formats", "transforms", "engine", "loaders", "bench")
FILES = sorted(one for package in PACKAGES for one in (ROOT / package).rglob("*.py"))
MAX_FILE, MAX_FUNCTION, MAX_CLASS = 300, 50, 150


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_can_be_read_from_top_to_bottom(path: Path) -> None:
    text = path.read_text()
    if "kernels" in path.parts:
        # a kernel is one loop nest, and kernels that call each other must share a file (see STYLE in docs/design)
        assert len(text.splitlines()) <= MAX_FILE + 50
        return
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - (body[0].lineno if body else node.lineno) + 1
            assert lines <= MAX_FUNCTION, f"{node.name} has {lines} lines"
        if isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_CLASS + 60 * (node.name in ("Dataset", "DataLoader")), f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_named_for_its_concept_and_says_what_it_is(path: Path) -> None:
    assert not re.search(r"(^|_)(utils?|helpers?|common|misc)(_|$)|^base_", path.stem)
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a module begins with what it is"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_rows_become_python_objects_only_where_they_must(path: Path) -> None:
    text = path.read_text()
    where_they_must = {
        "engine/rows_at.py",  # rows of a map-style data set, which torch's own loader asks for one by one
        "engine/run_stages.py",  # rows that are set aside
        "loaders/columns_out.py",  # text, which has no other form for a trainer
        "formats/shard_index.py",  # the manifest's own columns, on their way to JSON
    }
    if name(path) in where_they_must or path.parts[len(ROOT.parts)] in ("api", "bench"):
        return
    assert not re.search(r"\.(iterrows|to_pydict|to_pylist)\(", text)


def test_every_package_is_in_the_wheels_list() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for package in PACKAGES:
        for one in (ROOT / package).rglob("__init__.py"):
            inner = one.parent.relative_to(ROOT).parts
            parts = inner[1:] if package == "api" else inner
            found.add(".".join(("forebay", *parts)))
    assert found == listed


def test_a_type_ignore_has_a_code_and_a_reason() -> None:
    bad = [
        f"{name(path)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "type: ignore" in line and not re.search(r"type: ignore\[[\w, -]+\]  #", line)
    ]
    assert bad == []
