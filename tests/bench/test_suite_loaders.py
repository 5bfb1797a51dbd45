"""Candidates at toy size, in processes of their own: each delivers every sample exactly once, and the right values."""

from dataclasses import replace

import pytest

from forebay.bench.catalog import CANDIDATES
from forebay.bench.measure import run_job
from forebay.bench.peer_env import REQUIREMENTS, peer_environment
from forebay.bench.places import environments_home
from forebay.bench.runner import has_own_format, job_of

HERE = environments_home()
OURS = [next(one for one in every if one.peer == "forebay") for every in CANDIDATES.values()]
OTHERS = [one for every in CANDIDATES.values() for one in every if one.peer != "forebay"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREBAY_BENCH_HOME", str(tmp_path_factory.mktemp("bench")))
        yield


def run(candidate, mode, python=None):
    job = replace(job_of(candidate, mode, quick=True), warm_s=0.0, measure_s=0.1)
    watched = run_job(python or peer_environment("main").python, job, timeout_s=120)
    assert watched.ok, f"{watched.message} {watched.log}"
    return watched


def checked(candidate, python=None):
    if has_own_format(candidate):
        run(candidate, "prepare", python)
    return run(candidate, "check", python).message


@pytest.mark.parametrize("candidate", OURS, ids=lambda one: one.workload)
def test_forebay_delivers_every_sample_exactly_once_and_right(candidate, home):
    found = checked(candidate)
    assert (found["exactly_once"], found["values"], found["faults"]) == (True, True, [])


def test_a_timed_run_gives_its_figures(home):
    candidate = next(one for one in CANDIDATES["tabular"] if one.peer == "torch_loader")
    timed = run(candidate, "time")
    assert timed.message["samples"] > 0
    assert timed.message["wall_s"] > 0
    assert timed.message["start_s"] >= timed.message["first_batch_s"] > 0
    assert timed.peak_pss >= timed.peak_without_files > 10_000_000


@pytest.mark.slow
@pytest.mark.parametrize("candidate", OTHERS, ids=lambda one: f"{one.workload}-{one.name}")
def test_a_peer_delivers_every_sample_exactly_once_and_right(candidate, home, monkeypatch):
    python = None
    if REQUIREMENTS[candidate.environment]:
        if not list(HERE.glob(f"{candidate.environment}-py*/forebay-bench.json")):
            pytest.skip(f"no environment yet: python -m forebay.bench.peer_env {candidate.environment}")
        with monkeypatch.context() as patch:
            patch.setenv("FOREBAY_BENCH_HOME", str(HERE.parent))
            environment = peer_environment(candidate.environment)
        if environment.reason:
            pytest.skip(f"{candidate.environment} does not install: {environment.reason}")
        python = environment.python
    found = checked(candidate, python)
    assert (found["exactly_once"], found["values"], found["faults"]) == (True, True, [])
    assert run(candidate, "time", python).message["samples"] > 0
