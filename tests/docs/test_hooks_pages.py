"""Every Python block of the hooks' pages runs, and every page has its four parts."""

import re
from pathlib import Path

import pytest
import torch
from support.accelerate_state import forget_accelerate

PAGES = sorted((Path(__file__).parents[2] / "docs" / "hooks").glob("*.md"))
BLOCK = re.compile(r"^```python(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {
    "hooks": ("torchao", "peft", "bitsandbytes"),
    "lightning": ("lightning",),
    "hf": ("transformers", "accelerate"),
    "torchdata": ("torchdata",),
}

# The libraries behind some pages warn at import and of a CPU; the blocks are judged by their own assertions.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks or page.stem == "index"
    for extra, code in blocks:
        if extra == "gpu" and not torch.cuda.is_available():
            pytest.skip("the block needs a CUDA device; torch sees none")
        for package in NEEDS.get(extra, ()):
            pytest.importorskip(package)
        forget_accelerate()
        exec(compile(code, f"{page.name}", "exec"), {"__name__": page.stem})


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "index"], ids=lambda page: page.stem)
def test_a_page_is_one_screen_and_says_what_it_costs_and_when_not_to(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ") and "\n**Costs.**" in text and "\n**When not to.**" in text
    assert len(text.splitlines()) <= 70


def test_the_index_links_every_page() -> None:
    linked = set(re.findall(r"\((\w+)\.md\)", next(p for p in PAGES if p.stem == "index").read_text(encoding="utf-8")))
    assert linked == {page.stem for page in PAGES} - {"index"}
