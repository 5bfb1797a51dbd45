"""The blocks of the page on loading run, one after another, and each option of the loader is on the page."""

import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

from forebay.loaders.feed_options import FeedOptions

PAGE = Path(__file__).parents[2] / "docs" / "loading.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_blocks_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.py").write_text("\n".join(BLOCK.findall(PAGE.read_text(encoding="utf-8"))))
    runpy.run_path("page.py", run_name="page")


def test_each_option_is_on_the_page() -> None:
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table)))
    asked = {one.name for one in fields(FeedOptions)} - {"num_workers"}  # which stands above the table
    assert asked <= named | {"deterministic"}
