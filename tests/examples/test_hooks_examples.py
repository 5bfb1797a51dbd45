"""The examples of the hooks run as a reader would run them, at a reduced size."""

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# The libraries behind the examples warn at import and of a CPU; the examples are judged by what they compute.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]


def run(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / name / "train.py"))["main"](["--quick"])


def test_digits_convert_exactly_to_four_bits() -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("sklearn")
    found = run("images_qat")
    assert list(found) == ["float32", "int4 afterwards", "int4, trained for it"]
    assert all(share > 0.2 for share in found.values())


def test_text_is_learned_in_bf16() -> None:
    before, after = run("text_bf16")
    assert after < before - 0.5


@pytest.mark.slow
def test_adapters_learn_other_text_on_four_bits() -> None:
    for package in ("transformers", "peft", "bitsandbytes"):
        pytest.importorskip(package)
    before, after = run("lora")
    assert after < before - 0.1
