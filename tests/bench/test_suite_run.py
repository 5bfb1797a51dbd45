"""The suite from its command to its table, at toy size."""

import ast
import json
from pathlib import Path

import pytest

import forebay.bench.runner
from forebay.bench.__main__ import main
from forebay.bench.catalog import CANDIDATES, WORKLOADS
from forebay.bench.peer_env import REQUIREMENTS
from forebay.bench.results import Results, rows
from forebay.bench.runner import SuiteOptions
from forebay.bench.table import BEGIN, END, put_between_markers, summary, table
from forebay.formats.errors import SpecError, UnknownNameError

PEERS = Path(forebay.bench.runner.__file__).parent / "peers"


def functions(peer):
    tree = ast.parse((PEERS / f"{peer}.py").read_text())
    return {
        node.name: [one.arg for one in node.args.kwonlyargs] for node in tree.body if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_candidate_has_a_function_that_takes_its_settings(workload):
    names = [one.name for one in CANDIDATES[workload]]
    assert len(set(names)) == len(names)
    assert [one.limit for one in CANDIDATES[workload]].count(True) == 1
    for one in CANDIDATES[workload]:
        assert one.environment in REQUIREMENTS
        if one.environment != "ffcv":  # does not build: nothing could be written against it
            assert set(one.settings) <= set(functions(one.peer)[workload]), one.name


def test_a_run_gives_json_table_and_plot_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOREBAY_BENCH_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    # a peer that is not there, so that only forebay and the limit run
    command = ["python", "--quick", "--repeats", "1", "--against", "nobody", "--out", str(out), "--readme", str(readme)]
    monkeypatch.setattr("sys.argv", ["bench", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    found = json.loads((out / "results.json").read_text())
    assert [row["candidate"] for row in found["rows"]] == ["limit: no transport", "forebay, 2 workers"]
    assert found["rows"][1]["faults"] == []
    assert found["machine"][0]["cores"] >= 1
    assert "| forebay, 2 workers |" in (out / "table.md").read_text()
    assert (out / "plot.svg").stat().st_size > 1000 and (out / "plot.png").stat().st_size > 1000
    assert readme.read_text().startswith(f"before\n{BEGIN}\n| workload |")
    assert "old" not in readme.read_text() and readme.read_text().endswith(f"{END}\nafter\n")
    times = len(Results.open(out, resume=True).of("time"))
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["bench", *command, "--resume"])
    with pytest.raises(SystemExit):
        main()
    assert len(Results.open(out, resume=True).of("time")) == times


def records(results, candidate, rates, *, limit=False):
    for turn, rate in enumerate(rates):
        results.add(
            "time",
            workload="tokens",
            candidate=candidate,
            limit=limit,
            quick=False,
            turn=turn,
            ok=True,
            samples=rate,
            wall_s=1.0,
            cpu_s=2.0,
            peak_pss=10**8,
            peak_without_files=5 * 10**7,
            first_batch_s=0.1,
            start_s=1.0,
        )


def test_medians_shares_and_reasons_are_in_the_table(tmp_path):
    results = Results.open(tmp_path, resume=False)
    records(results, "limit: memory copy", [1000, 900, 1100], limit=True)
    records(results, "forebay", [500, 700, 600])
    records(results, "torch, 0 workers", [100, 100, 130])
    results.add("check", workload="tokens", candidate="torch, 0 workers", faults=["3 of 8 samples missing"])
    results.add(
        "absent", workload="tokens", candidate="FFCV", limit=False, quick=False, reason="does not install: no cv"
    )
    found = rows(Results.open(tmp_path, resume=True), quick=False)
    assert [one.candidate for one in found] == ["limit: memory copy", "forebay", "torch, 0 workers", "FFCV"]
    assert (found[1].rate, found[1].cpu_rate, found[1].share) == (600, 300, 0.6)
    text = table(found, [])
    assert "| forebay | 600 | 500 to 700 | 60% |  | 300 | 100 | 50 | 0.10 | 1.00 | not checked |" in text
    assert "| torch, 0 workers | 100 | 100 to 130 | 10% | 6.0 x |" in text
    assert "**no**: 3 of 8 samples missing" in text
    assert "* FFCV: does not install: no cv" in text
    assert "| tokens | 600 sequences/s |  | 100 (torch, 0 workers; 6.0 x) | 1,000 | 60% |" in summary(found)


def test_a_file_without_markers_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(SpecError, match="put the two markers where the table belongs"):
        put_between_markers(tmp_path / "README.md", "x")


def test_an_unknown_workload_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="tokens"):
        SuiteOptions(workloads=("token",))


def test_a_time_of_nothing_is_refused():
    with pytest.raises(SpecError, match="minutes is 0"):
        SuiteOptions(minutes=0)
