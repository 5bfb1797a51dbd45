"""The benchmark of text cleaning runs, and finds candidates that give something else."""

import pytest

from forebay.bench import text_kernels


def test_each_step_has_its_candidates(capsys: pytest.CaptureFixture[str]) -> None:
    found = text_kernels.main(["--quick"])
    assert {step: list(one) for step, one in found.items()} == {
        "NFC": ["forebay", "pyarrow", "polars"],
        "white space": ["forebay", "pyarrow", "polars"],
        "both": ["forebay", "python"],
    }
    assert "| NFC | pyarrow |" in capsys.readouterr().out


def test_a_candidate_that_gives_something_else_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_kernels, "clean", str.strip)
    with pytest.raises(SystemExit, match="python and forebay differ in both"):
        text_kernels.main(["--quick"])
