"""The recipes of docs/frameworks.md run, one after another as on the page."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.accelerate_state import forget_accelerate

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
BLOCK = re.compile(r"^```python(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {"lightning": ("lightning",), "hf": ("transformers", "accelerate")}

# The libraries warn of CPUs, small data sets and each other; the blocks are judged by their own assertions.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]


def test_the_recipes_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "frameworks_page"}
    for extra, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        for package in NEEDS.get(extra, ()):
            pytest.importorskip(package)
        forget_accelerate()
        exec(compile(code, PAGE.name, "exec"), names)
