"""The suite from its command to its table, at toy size."""

import ast
import json
from pathlib import Path

import pytest

import forebay.bench.runner
from forebay.bench.__main__ import main
from forebay.bench.catalog import CANDIDATES, WORKLOADS
from forebay.bench.job import Candidate
from forebay.bench.peer_env import REQUIREMENTS
from forebay.bench.publish import publish, regenerate
from forebay.bench.results import Results
from forebay.bench.rows import rows
from forebay.bench.runner import SuiteOptions
from forebay.bench.suite import read_report, write_report
from forebay.bench.table import BEGIN, END, put_between_markers, readme_part, summary, table
from forebay.bench.turns import best_settings, within_reach
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
    assert found["machines"][0]["cores"] >= 1 and found["machines"][0]["workloads"] == ["python"]
    assert "| forebay, 2 workers |" in (out / "table.md").read_text()
    assert (out / "plot.svg").stat().st_size > 1000 and (out / "plot.png").stat().st_size > 1000
    assert readme.read_text().startswith(f"before\n{BEGIN}\n| workload |")
    assert "old" not in readme.read_text() and readme.read_text().endswith(f"{END}\nafter\n")
    times = Results.open(out).of("time")
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["bench", *command, "--resume"])
    with pytest.raises(SystemExit):
        main()
    assert Results.open(out).of("time") == times


def record(results, candidate, rate, *, turn=0, system="", limit=False):
    results.add(
        "time",
        workload="tokens",
        candidate=candidate,
        system=system or candidate,
        limit=limit,
        quick=False,
        turn=turn,
        ok=True,
        settings={"threads": 2},
        samples=rate,
        wall_s=1.0,
        cpu_s=2.0,
        peak_pss=10**8,
        peak_without_files=5 * 10**7,
        read_calls_bytes=4_000 * rate,
        first_batch_s=0.1,
        start_s=1.0,
    )


@pytest.fixture
def measured(tmp_path):
    results = Results.open(tmp_path / "measured")
    for turn, (limit, ours, torch) in enumerate([(1000, 500, 100), (900, 700, 100), (1100, 600, 130)]):
        record(results, "limit: memory copy", limit, turn=turn, limit=True)
        record(results, "forebay", ours, turn=turn)
        record(results, "torch, 0 workers", torch, turn=turn, system="torch")
    record(results, "torch, 2 workers", 50, system="torch")
    results.add("check", workload="tokens", candidate="torch, 0 workers", faults=["3 of 8 samples missing"])
    results.add(
        "absent",
        workload="tokens",
        candidate="FFCV",
        system="FFCV",
        limit=False,
        quick=False,
        reason="does not install: no cv",
    )
    return results


def test_medians_shares_settings_and_reasons_are_in_the_table(measured):
    found = rows(Results.open(measured.directory), WORKLOADS, quick=False)
    assert [one.candidate for one in found] == ["limit: memory copy", "forebay", "torch, 0 workers", "FFCV"]
    assert (found[1].rate, found[1].cpu_rate, found[1].share) == (600, 300, 0.6)
    assert found[1].settings == {"threads": 2}
    assert found[2].others == (("torch, 2 workers", 50.0),)
    text = table(found, [])
    assert "| forebay | 600 | 500 to 700 | 60% |  | 300 | 100 | 50 | 0.10 | 1.00 | 4.0 | not checked |" in text
    assert "| torch, 0 workers | 100 | 100 to 130 | 10% | 6.0 x |" in text
    assert "Settings tried once and left: torch, 2 workers 50." in text
    assert "**no**: 3 of 8 samples missing" in text
    assert "* FFCV: does not install: no cv" in text
    line = "| tokens | 600 sequences/s |  | 100 (torch, 0 workers; 6.0 x) | 1,000 | 60% | 100, 100 | 0.10, 0.10 |"
    assert line in summary(found)


def test_workloads_that_are_measured_again_leave_the_others(measured):
    measured.add("machine", workloads=["tokens"], time="then", quick=False)
    measured.add("machine", workloads=["images"], time="then", quick=False)
    measured.add("machine", workloads=["tokens"], time="now", quick=False)
    measured.forget_times(["images"], quick=False)
    measured.forget_times(["tokens"], quick=True)
    assert len(Results.open(measured.directory).of("time")) == 10
    told = [(one["time"], one["workloads"]) for one in measured.machines(quick=False)]
    assert told == [("now", ["tokens"]), ("then", ["images"])]
    measured.forget_times(["tokens"], quick=False)
    left = Results.open(measured.directory)
    assert (left.of("time"), left.of("absent"), len(left.of("check"))) == ([], [], 1)


def test_a_line_that_was_cut_off_is_left_out(measured):
    with open(measured.directory / "results.jsonl", "a") as file:
        file.write('{"kind": "time", "work')
    assert len(Results.open(measured.directory).of("time")) == 10


def test_rows_come_back_from_their_json(measured, tmp_path):
    found = rows(measured, WORKLOADS, quick=False)
    write_report(found, [], tmp_path / "out", lambda text: None)
    assert read_report(tmp_path / "out" / "results.json") == (found, [])


def test_the_table_in_the_readme_is_what_the_kept_results_give():
    root = Path(__file__).parents[2]
    kept = readme_part(*read_report(root / "docs" / "benchmarks" / "results.json"))
    between = (root / "README.md").read_text().split(BEGIN)[1].split(END)[0]
    assert between == f"\n{kept}", "make it again: python -m forebay.bench.publish --regenerate"


def test_results_are_published_with_their_machine_and_load(measured, tmp_path):
    (tmp_path / "README.md").write_text(f"{BEGIN}{END}")
    machine = {"processor": "Some 9000", "cores": 2, "time": "2031-05-06 07:08:09 UTC", "load_average": [0.5, 1, 1]}
    more = {
        "load_after": [1.5, 1, 1],
        "memory_bytes": 2**30,
        "system": "Linux",
        "python": "3",
        "forebay": "0",
        "packages": {},
    }
    measured.add("machine", **machine, **more, peers={}, settings={"seconds": 2}, workloads=["tokens"], quick=False)
    publish(measured.directory, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "Some 9000, 2 cores, 2031-05-06, load average 0.5 to 1.5" in text
    assert "| tokens | 600 sequences/s |" in text
    assert "seconds 2. Load average before: 0.50" in (tmp_path / "docs" / "benchmarks" / "table.md").read_text()
    assert (tmp_path / "docs" / "benchmarks" / "plot.svg").stat().st_size < 200_000
    (tmp_path / "README.md").write_text(f"{BEGIN}{END}")
    regenerate(tmp_path)
    assert (tmp_path / "README.md").read_text() == text


def test_nothing_is_published_without_results(tmp_path):
    with pytest.raises(SpecError, match="no results at full size; measure with: forebay bench"):
        publish(tmp_path, tmp_path)
    assert "No results are kept yet" in readme_part([], [])


def test_the_best_setting_goes_on_and_peers_far_behind_stop(tmp_path):
    results = Results.open(tmp_path)

    def candidate(name, rate, system="", peer="torch_loader", limit=False):
        made = Candidate(name=name, workload="tokens", peer=peer, system=system, limit=limit)
        record(results, name, rate, system=system, limit=limit)
        return made, "python", None

    every = [
        candidate("limit", 9, limit=True),
        candidate("ours", 10, peer="forebay"),
        candidate("a, 1", 70, "a"),
        candidate("a, 2", 100, "a"),
        candidate("b", 24),
        candidate("c", 26),
    ]
    best = best_settings(every, results, quick=False)
    assert [one.name for one, _, _ in best] == ["limit", "ours", "a, 2", "b", "c"]
    assert [one.name for one, _, _ in within_reach(best, results, False)] == ["limit", "ours", "a, 2", "c"]


def test_a_file_without_markers_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(SpecError, match="put the two markers where the table belongs"):
        put_between_markers(tmp_path / "README.md", "x")


def test_an_unknown_workload_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="tokens"):
        SuiteOptions(workloads=("token",))


def test_a_peer_that_no_workload_has_is_refused_with_those_there_are():
    with pytest.raises(
        SpecError, match=r"no system has 'tensorflow' in its name; there are .*Polars streaming.*'nobody'"
    ):
        SuiteOptions(workloads=("prep_tabular",), against=("polars", "tensorflow"))
    assert {one.peer for one in SuiteOptions(against=("nobody",)).candidates("prep_text")} == {"limits", "forebay"}


def test_a_time_of_nothing_is_refused():
    with pytest.raises(SpecError, match="seconds is 0"):
        SuiteOptions(seconds=0)
