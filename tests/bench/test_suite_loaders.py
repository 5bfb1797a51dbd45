"""Candidates of the main environment, at toy size, in processes of their own: each delivers every sample exactly once."""

import importlib

import pytest

from forebay.bench.catalog import CANDIDATES
from forebay.bench.job import Job
from forebay.bench.measure import run_job
from forebay.bench.peer_env import peer_environment

ONE_OF_EACH = [
    next(one for one in CANDIDATES[workload] if one.peer == peer and one.environment == "main")
    for workload in CANDIDATES
    for peer in ("forebay", "torch_loader", "limits")
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREBAY_BENCH_HOME", str(tmp_path_factory.mktemp("bench")))
        yield tmp_path_factory.getbasetemp()


def run(candidate, home, mode):
    data = importlib.import_module(f"forebay.bench.workloads.{candidate.workload}").make_data(quick=True)
    job = Job(
        workload=candidate.workload,
        peer=candidate.peer,
        mode=mode,
        data=str(data),
        prepared=str(home / f"{candidate.workload}-{candidate.peer}"),
        settings=candidate.settings,
        limit=candidate.limit,
        warm_s=0.0,
        measure_s=0.1,
    )
    watched = run_job(peer_environment("main").python, job, timeout_s=120)
    assert watched.ok, f"{watched.message} {watched.log}"
    return watched


@pytest.mark.slow
@pytest.mark.parametrize("candidate", ONE_OF_EACH, ids=lambda one: f"{one.workload}-{one.peer}")
def test_every_sample_is_delivered_exactly_once_and_right(candidate, home):
    run(candidate, home, "prepare")
    found = run(candidate, home, "check").message
    assert found["faults"] == []
    assert found["exactly_once"] and found["values"]
    timed = run(candidate, home, "time")
    assert timed.message["samples"] > 0
    assert timed.message["wall_s"] > 0
    assert timed.peak_pss >= timed.peak_without_files > 0


def test_a_run_of_a_workload_gives_its_figures(home):
    candidate = CANDIDATES["python"][1]
    run(candidate, home, "prepare")
    found = run(candidate, home, "check").message
    assert (found["exactly_once"], found["values"], found["faults"]) == (True, True, [])
    timed = run(candidate, home, "time")
    assert timed.message["samples"] > 0
    assert timed.message["start_s"] >= timed.message["first_batch_s"] > 0
    assert timed.peak_pss > 10_000_000
