"""Scaling curves at toy size."""

import json
from pathlib import Path

import pytest

from forebay.bench import scaling
from forebay.bench.environment import machine
from forebay.bench.publish import publish
from forebay.bench.results import Results
from forebay.bench.scaling import main, merged
from forebay.bench.scaling_curves import CURVES, SIZE, points
from forebay.bench.scaling_report import picture, table
from forebay.formats.errors import SpecError, UnknownNameError


def test_the_size_curve_measures_both_systems_at_each_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOREBAY_BENCH_HOME", str(tmp_path))
    monkeypatch.setattr(scaling, "PREPARED", ("tokens",))
    found = main(["size", "--quick", "--out", str(tmp_path / "out")])
    assert [one["system"] for one in found] == ["forebay, 2 threads", "torch, 0 workers"] * 2
    assert all(one["ok"] and one["rate"] > 0 for one in found), found
    assert found[2]["x"] == 4 * found[0]["x"]
    assert "4 times the data takes" in capsys.readouterr().out
    kept = json.loads((tmp_path / "out" / "scaling-quick.json").read_text())
    assert kept["records"] == found and kept["measured"][SIZE]["cores"] > 0
    # many names of one file: nothing grows on the disk
    links = list((tmp_path / "data" / "scaling-4-quick").rglob("*.bin"))
    assert len({one.stat().st_ino for one in links}) == 1 and len(links) == 4


@pytest.mark.parametrize("curve", [name for name in CURVES if name not in ("size", "threads")])
def test_systems_take_turns_at_each_place(curve, tmp_path, monkeypatch):
    monkeypatch.setenv("FOREBAY_BENCH_HOME", str(tmp_path))
    found = list(points(curve, quick=True))
    assert len({one.system for one in found}) == 2
    assert [one.system for one in found[:2]] == [one.system for one in found[2:4]]
    assert found[0].x == found[1].x < found[2].x


def record(curve: str, system: str, x: float, rate: float = 10.0) -> dict:
    figures = {
        "rate": rate,
        "cpu_rate": rate / 2,
        "first_batch_s": 0.1,
        "peak_pss": 2_000_000,
        "peak_without_files": 1_000_000,
    }
    return {"curve": curve, "system": system, "x": x, "ok": True, **figures}


def test_of_several_runs_the_medians_count_and_failures_do_not():
    failed = {"curve": "c", "system": "s", "x": 1.0, "ok": False, "reason": "broke"}
    assert merged([record("c", "s", 1.0, rate) for rate in (1.0, 5.0, 9.0)] + [failed])["rate"] == 5.0
    assert merged([failed, failed])["reason"] == "broke"


def test_curves_measured_before_stay_and_are_published(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "_prepare", lambda quick: None)
    monkeypatch.setattr(
        scaling, "run_curve", lambda name, **_: ([record(name, "forebay", 1.0), record(name, "torch", 1.0)], where())
    )
    out = tmp_path / "results"
    main(["batch", "--out", str(out)])
    main(["sample", "--out", str(out)])
    assert [one["curve"] for one in json.loads((out / "scaling.json").read_text())["records"]] == ["batch"] * 2 + [
        "sample"
    ] * 2
    (tmp_path / "docs" / "benchmarks").mkdir(parents=True)
    (tmp_path / "README.md").write_text("<!-- bench:begin -->\n<!-- bench:end -->\n")
    results = Results.open(out)
    results.add("absent", workload="tokens", candidate="x", system="x", limit=False, quick=False, reason="not there")
    results.add("machine", **machine(), load_after=[0.0], peers={}, settings={}, workloads=["tokens"], quick=False)
    publish(out, tmp_path)
    published = tmp_path / "docs" / "benchmarks"
    assert "## sample" in (published / "scaling.md").read_text()
    assert (published / "scaling.svg").read_text().startswith("<?xml")


def where() -> dict:
    found = {
        "time": "now",
        "processor": "P",
        "cores": 2,
        "memory_bytes": 2**30,
        "python": "3.11",
        "forebay": "0",
        "packages": {},
    }
    return {**found, "load_average": [0.5], "load_after": [0.6], "settings": {"repeats": 1}}


def test_a_run_that_fails_says_why_in_the_table_and_is_not_drawn(tmp_path: Path):
    failed = {"curve": "size", "system": "torch", "x": 5.0, "ok": False, "reason": "took longer than 180 s"}
    assert "| torch | 5 | took longer than 180 s | | |" in table([failed], {})
    picture([failed], tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_what_grows_from_the_smallest_to_the_largest_is_told():
    text = table([record(SIZE, "forebay", 1.0, 10.0), record(SIZE, "forebay", 125.0, 8.0)], {SIZE: where()})
    assert "* forebay: 125 times the data takes 1.25 times the CPU time a sample and 1.00 times the memory" in text
    assert "P, 2 cores, 1 GiB" in text


def test_an_unknown_curve_and_no_repeats_are_refused():
    with pytest.raises(UnknownNameError, match="threads"):
        main(["thread"])
    with pytest.raises(SpecError, match="repeats is 0; expected at least 1"):
        main(["--repeats", "0"])
