"""The benchmark of image chains runs, and its tables have a row for each candidate."""

import pytest

from forebay.bench.images_kernels import main


def test_the_tables_have_a_row_for_each_chain(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    found = main(["--quick"])
    assert "forebay, fused" in found["decoded"] and "libjpeg-turbo alone" in found["decoded"]
    assert list(found["cached"]) == ["copy of the output", "forebay, from cached pixels"]
    assert all(row["us"] > 0 for table in (found["decoded"], found["cached"]) for row in table.values())
    assert found["errors"]["fast_mean"] > 0
    assert "(3 asked)" in capsys.readouterr().out
