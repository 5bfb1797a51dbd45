"""Scaling curves at toy size."""

import pytest

from forebay.bench.scaling import CURVES, main, points, table
from forebay.formats.errors import UnknownNameError


@pytest.mark.slow
def test_the_size_curve_measures_both_systems_at_each_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOREBAY_BENCH_HOME", str(tmp_path))
    found = main(["size", "--quick", "--out", str(tmp_path / "out")])
    assert [one["system"] for one in found] == ["forebay", "torch, 0 workers"] * 2
    assert all(one["ok"] and one["rate"] > 0 for one in found)
    assert found[2]["x"] == 4 * found[0]["x"]
    assert "## data bytes, tokens" in capsys.readouterr().out
    assert (tmp_path / "out" / "scaling.json").stat().st_size > 100


@pytest.mark.parametrize("curve", [name for name in CURVES if name not in ("size", "threads")])
def test_systems_take_turns_at_each_place(curve, tmp_path, monkeypatch):
    monkeypatch.setenv("FOREBAY_BENCH_HOME", str(tmp_path))
    found = list(points(curve, quick=True))
    assert len({one.system for one in found}) == 2
    assert [one.system for one in found[:2]] == [one.system for one in found[2:4]]
    assert found[0].x == found[1].x < found[2].x


def test_a_run_that_fails_says_why_in_the_table():
    text = table([{"curve": "size", "system": "torch", "x": 5.0, "ok": False, "reason": "took longer than 180 s"}])
    assert "| torch | 5 | took longer than 180 s | | |" in text


def test_an_unknown_curve_is_refused():
    with pytest.raises(UnknownNameError, match="threads"):
        main(["thread"])
