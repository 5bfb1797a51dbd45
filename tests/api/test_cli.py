"""The command line: results on stdout, errors in one line, and an exit code for each kind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import tables

from forebay.cli.main import main

RECIPE = """
steps:
  - filter: n > -500
  - FillNull: {columns: [x], strategy: median}
  - Standardize: [x]
  - Categorize: {columns: [s], min_count: 2}
output: {format: parquet, max_rows: 800}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tables.write_parquet(tmp_path / "raw")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return main(list(arguments))


def test_prep_inspect_verify_as_a_user_types_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prep", "recipe.yaml", "-i", "raw", "-o", "out") == 0
    said = capsys.readouterr().out
    assert "read             3,000 rows" in said and "filtered" in said and "Where(n > -500)" in said
    assert run("prep", "recipe.yaml", "-i", "raw", "-o", "out") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run("inspect", "out") == 0
    assert "FillNull, Standardize, Categorize" in capsys.readouterr().out
    assert run("verify", "out") == 0
    assert "all as written" in capsys.readouterr().out


def test_json_is_for_machines(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prep", "recipe.yaml", "-i", "raw", "-o", "out", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["read"] == 3000 and report["written"] + sum(report["filtered"].values()) == 3000
    assert run("inspect", "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == report["written"]
    assert run("verify", "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert run("doctor", "--json") == 0
    assert any(one["name"] == "pyarrow" and one["ok"] for one in json.loads(capsys.readouterr().out))


def test_verify_names_each_fault_and_fails(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prep", "recipe.yaml", "-i", "raw", "-o", "out") == 0
    first, second, *_ = sorted((place / "out").glob("part-*.parquet"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 0xFF
    first.write_bytes(data)
    second.unlink()
    (place / "out" / "part-stray.parquet").write_bytes(b"x")
    assert run("verify", "out") == 1
    said = capsys.readouterr().out
    assert (
        f"altered    {first.name}" in said and f"missing    {second.name}" in said and "unknown    part-stray" in said
    )


def test_dry_run_and_sample_write_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prep", "recipe.yaml", "-i", "raw", "--dry-run") == 0
    assert "pass 1 of 2" in capsys.readouterr().out
    assert run("prep", "recipe.yaml", "-i", "raw", "--sample", "500") == 0
    assert "µs a row" in capsys.readouterr().out
    assert run("explain", "recipe.yaml", "-i", "raw") == 0
    assert "fused" in capsys.readouterr().out
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("recipe", "code", "words"),
    [
        ("stepz: []", 2, "did you mean steps"),
        ("steps: [Standardise: [x]]", 2, "did you mean Standardize"),
        ("steps: [Standardize: {colums: [x]}]", 2, "did you mean columns"),
        ("steps: [Standardize: [zz]]", 2, "unknown column 'zz'"),
        ("steps: [filter: 'n >']", 2, "step 1 of recipe.yaml"),
        ("steps: {a: 1}", 2, "expected a list"),
        ("steps: [[1, 2]]", 2, "expected one name with its settings"),
        ("- a", 2, "a recipe is a mapping"),
        ("steps: [select: 5]", 2, "Select: columns is (5,); expected one or more column names"),
        ("steps: [FillNull: 5]", 2, "FillNull: columns is 5; expected one or more column names"),
        ("format: parkuet", 2, "did you mean parquet"),
        ("a: [", 2, "recipe.yaml is not YAML: line 1, column 5: expected the node content"),
        ("steps:\n\t- a", 2, "recipe.yaml is not YAML: line 2, column 1: found character"),
        ("a: \0", 2, "is not YAML"),
        ("steps: []\noutput: {formt: arrow}", 2, "did you mean format"),
        ("steps: []\noutput: {format: csv}", 2, "'parquet' or 'arrow'"),
        ("steps: []\noutput: {memory: lots}", 2, "expected a number with a unit"),
    ],
)
def test_a_wrong_recipe_says_which_key_and_what_is_right(
    place: Path, capsys: pytest.CaptureFixture[str], recipe: str, code: int, words: str
) -> None:
    (place / "recipe.yaml").write_text(recipe)
    assert run("prep", "recipe.yaml", "-i", "raw", "-o", "out") == code
    error = capsys.readouterr().err
    assert words in error and error.startswith("forebay: ") and error.count("\n") == 1


def test_other_mistakes_have_codes_of_their_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prep", "none.yaml", "-i", "raw", "-o", "out") == 3
    assert run("prep", "recipe.yaml", "-i", "nowhere", "-o", "out") == 3
    assert run("prep", "recipe.yaml", "-o", "out") == 2
    assert "input is missing" in capsys.readouterr().err
    (place / "recipe.yaml").write_text("input: 5")
    assert run("prep", "recipe.yaml", "-o", "out") == 2
    assert "input is 5; expected a path or URL, or a list of these" in capsys.readouterr().err
    (place / "recipe.yaml").write_bytes(b"\xa5")
    assert run("prep", "recipe.yaml", "-i", "raw", "-o", "out") == 2
    assert "byte 0 is not UTF-8; a recipe is a text file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["prepare"], "No such command 'prepare'. Did you mean 'prep'? (`forebay --help` tells"),
        (["inspect"], "Missing argument 'path' (`forebay inspect --help` tells"),
        (["prep", "recipe.yaml", "-i", "raw"], "--output: give the directory to write to (`forebay prep --help` tells"),
        (["prep", "recipe.yaml", "-i", "raw", "--sample", "-1"], "--sample"),
        (["prep", "recipe.yaml", "-i", "raw", "-o", "out", "--max-bad", "few"], "'few' is neither a count nor a share"),
        (["explain", "recipe.yaml", "--sample", "-1"], "--sample"),
        (["inspect", "raw", "--rows", "-1"], "--rows"),
        (["verify", "--quick"], "No such option: --quick (`forebay verify --help` tells"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], command: list[str], words: str
) -> None:
    assert run(*command) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.startswith("forebay: ") and said.err.count("\n") == 1 and not said.out


def test_without_a_verb_the_verbs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for command, verb in ([], "inspect"), (["cache"], "prune"):
        assert run(*command) == 2
        assert verb in "".join(capsys.readouterr())
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("forebay ")


def test_too_many_bad_rows_fail_with_the_reason(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "t.jsonl").write_text('{"a": 1}\nnope\n')
    (place / "recipe.yaml").write_text("steps: []")
    assert run("prep", "recipe.yaml", "-i", "t.jsonl", "-o", "out", "--max-bad", "0") == 1
    assert "1 of 2 rows are bad" in capsys.readouterr().err
    assert run("prep", "recipe.yaml", "-i", "t.jsonl", "-o", "out2") == 0
    assert "not JSON" in capsys.readouterr().out


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(place: Path) -> None:
    tables.write_parquet(place / "big", files=20, rows=20_000, group=5000)
    (place / "recipe.yaml").write_text("steps: [FillNull: {columns: [x], value: 0.0}]\noutput: {unit_bytes: 20000}")
    command = [sys.executable, "-m", "forebay", "prep", "recipe.yaml", "-i", "big", "-o", "out", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=place, env=os.environ)
    deadline = time.monotonic() + 60
    while not list((place / "out").glob("part-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    if process.returncode != 0:  # it was not done before the signal came
        assert process.returncode == 130
        assert "run the same command again" in error and "Traceback" not in error
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, check=True)
    assert "400,000 rows" in done.stdout or "complete already" in done.stdout
    assert not [one for one in (place / "out").iterdir() if one.name.startswith(".")]


def test_the_cache_is_listed_and_cleared(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import forebay as fb

    def cache(*command: str, code: int = 0) -> str:
        assert run("cache", *command, "--dir", str(place / "cache")) == code
        return "".join(capsys.readouterr())

    assert "0 units" in cache("ls") and "0 units" in cache("verify") and not (place / "cache").exists()
    cached = fb.scan(str(place / "raw")).cache(str(place / "cache"))
    assert sum(batch.num_rows for batch in cached.iter_batches()) == 3000
    cached.source.cache.close()  # units are brought to the disk behind the reader's back
    (label,) = [one["label"] for one in json.loads(cache("ls", "--json"))["labels"]]
    assert "12 units, " in cache("verify") and "all intact" in cache("verify")
    unit = next((place / "cache").rglob("*.unit"))
    unit.write_bytes(unit.read_bytes()[:100])
    assert "1 units" in next(line for line in cache("ls").splitlines() if "(unreadable; " in line)
    assert "1 bad" in cache("verify", code=1)
    assert "nothing says what to prune: give a size to shrink to, an age, or both" in cache("prune", code=2)
    assert "expected a number with s, m, h, d or w" in cache("prune", "--older-than", "5y", code=2)
    assert f"did you mean {label}?" in cache("clear", "--label", label[:-1], code=2)
    assert "removed 11 units" in cache("clear", "--label", label)
    assert "removed 1 units" in cache("clear")
    assert "0 units" in cache("ls")
