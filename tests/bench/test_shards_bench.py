"""The measuring of layouts runs at toy size, and all layouts hold the same rows."""

from pathlib import Path

import pytest

from forebay.bench import shards


def test_every_layout_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs = shards.main(["--rows", "2000", "--turns", "1", "--directory", str(tmp_path)])
    assert [one.layout for one in costs] == shards.LAYOUTS
    assert all(one.nbytes > 0 and one.write_s >= 0 for one in costs)
    assert "| split |" in capsys.readouterr().out
