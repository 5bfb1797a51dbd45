"""Environments of the peers: seen through to forebay's packages, and a reason kept where pip fails."""

import json
import subprocess

import pytest

from forebay.bench import peer_env
from forebay.bench.environment import machine, peer_versions
from forebay.bench.peer_env import PeerEnvironment, peer_environment


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREBAY_BENCH_HOME", str(tmp_path))
    return tmp_path


def test_an_environment_sees_what_forebay_runs_on(home, monkeypatch):
    monkeypatch.setitem(peer_env.REQUIREMENTS, "numpy", ("numpy",))
    made = peer_environment("numpy")
    assert made.reason == ""
    said = subprocess.run(
        [made.python, "-c", "import pyarrow, sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str(
        home / "envs" / f"numpy-py{'.'.join(map(str, __import__('sys').version_info[:2]))}"
    )
    assert set(peer_versions(made)) == {"numpy"}
    assert peer_environment("numpy") == made


def test_what_does_not_install_is_kept_with_its_reason(home, monkeypatch):
    monkeypatch.setitem(peer_env.REQUIREMENTS, "nothing", (str(home / "no-such-wheel.whl"),))
    made = peer_environment("nothing")
    assert made.python == ""
    assert "no-such-wheel" in made.reason
    kept = json.loads(next(home.glob("envs/nothing-*/forebay-bench.json")).read_text())
    assert kept["reason"] == made.reason
    assert peer_environment("nothing") == made
    assert peer_versions(made) == {}


def test_the_machine_is_written_down():
    found = machine()
    assert found["cores"] >= 1 and found["memory_bytes"] > 2**28
    assert {"numpy", "torch", "pyarrow"} <= set(found["packages"])
    assert peer_versions(PeerEnvironment("main", "python")) == {}
