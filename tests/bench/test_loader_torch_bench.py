"""The benchmark of torch data sets runs, and its table has what it says."""

import json

import pytest

from forebay.bench.loader_demands import demands
from forebay.bench.loader_settings import GRID_BATCHES, GRID_BYTES, LARGEST_BATCH, SETS
from forebay.bench.loader_torch import main


def test_a_row_has_both_loaders_by_wall_and_cpu_time_and_memory(tmp_path, capsys) -> None:
    rows = main(["slow", "--quick", "--json", str(tmp_path / "figures.json")])
    assert [one["name"] for one in rows] == ["slow"]
    assert all(rows[0][f"{one}_{figure}"] > 0 for one in ("torch", "forebay") for figure in ("per_wall_s", "peak_pss"))
    assert all(0 < share < 1.5 for share in rows[0]["shares"])
    told = capsys.readouterr().out
    assert "of the ideal" in told
    assert "slow: 1.4 times as fast by second: " in told and "PSS below torch's in every setting: " in told
    runs = json.loads((tmp_path / "figures.json").read_text())[0]["runs"]
    assert {loader: len(turns) for loader, turns in runs.items()} == {"torch": 1, "forebay": 1}


def test_the_grid_leaves_out_only_what_does_not_fit() -> None:
    found = {(one.sample_bytes, one.batch) for one in SETS["grid"](False)}
    assert found == {(a, b) for a in GRID_BYTES for b in GRID_BATCHES if a * b <= LARGEST_BATCH}


@pytest.mark.parametrize("only", ["lists", pytest.param("", marks=pytest.mark.slow)])
def test_batches_of_every_kind_are_measured(only: str) -> None:
    kinds = [one.name for one in SETS["kinds"](True)]
    assert kinds == ["kinds, tensors", "kinds, text", "kinds, lists", "kinds, start"]
    rows = main(["kinds", "--quick", "--only", only])
    assert [one["name"] for one in rows] == [one for one in kinds if only in one]
    assert all(one["times_per_cpu_s"][0] > 0 for one in rows)


@pytest.mark.parametrize("only", ["1 fork", pytest.param("", marks=pytest.mark.slow)])
def test_time_to_the_first_batch_is_measured_without_and_with_workers(only: str, capsys) -> None:
    names = [one.name for one in SETS["first"](True)]
    assert names == ["first, 0 workers", "first, 1 fork", "first, 2 fork"]
    rows = main(["first", "--quick", "--only", only])
    assert [one["name"] for one in rows] == [one for one in names if only in one]
    assert all(one[f"{loader}_first_batch_s"] > 0 for one in rows for loader in ("torch", "forebay"))
    assert "first batch no later: " in capsys.readouterr().out
    spawned = [one.name for one in SETS["first"](False) if one.method == "spawn"]
    assert spawned == ["first, 1 spawn", "first, 2 spawn"]


def row(name: str, times: float, pss: float) -> dict:
    memory = {
        f"{one}_{figure}": value
        for figure in ("peak_pss", "peak_own", "peak_held")
        for one, value in (("torch", 1e8), ("forebay", pss))
    }
    rates = {f"times_{figure}": (times, times, times) for figure in ("per_wall_s", "per_cpu_s")}
    first = {"torch_first_batch_s": 0.1, "forebay_first_batch_s": 0.2}
    return {"name": name, **memory, **rates, **first}


def test_the_last_lines_say_what_is_reached_and_what_is_not() -> None:
    assert all(line.endswith(": reached") for line in demands([row("ready", 5.5, 9e7)]))
    told = demands([row("ready", 4.5, 9e7), row("grid 1 KB x 8", 0.8, 1.1e8)])
    assert told[0] == "ready: 5 times as fast by second (is 4.50): NOT reached: 4.50"
    assert told[2] == "never slower by second: NOT reached: grid 1 KB x 8 (0.80)"
    assert told[-3] == "PSS below torch's in every setting: NOT reached: grid 1 KB x 8 (110 MB for 100)"
    start = {key: value for key, value in row("first, 1 fork", 1, 9e7).items() if not key.startswith("times")}
    assert "first batch no later: NOT reached: first, 1 fork (0.200 s for 0.100)" in demands([start])


def test_an_unknown_set_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["ready", "fast"])
    assert "no set 'fast'; there are ready, trainer, slow, grid, first, kinds" in capsys.readouterr().err
