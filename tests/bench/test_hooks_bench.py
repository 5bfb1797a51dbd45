"""The benchmark of the hooks runs, and its table has the figure that is promised."""

import pytest

from forebay.bench.hooks import main


def test_the_table_has_a_row_a_kind_of_batch(capsys: pytest.CaptureFixture[str]) -> None:
    table = main(["--quick"])
    assert list(table) == ["images", "tokens, planned count", "tokens, mask summed"]
    assert all(row["overhead_us"] == row["attached_us"] - row["bare_us"] for row in table.values())
    assert "promised: under 20 us a step" in capsys.readouterr().out
