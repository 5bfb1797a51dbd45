"""The benchmark of torch data sets runs, and its table has what it says."""

import json

import pytest

from forebay.bench.loader_torch import GRID_BATCHES, GRID_BYTES, LARGEST_BATCH, SETS, main


def test_a_row_has_both_loaders_by_wall_and_cpu_time_and_memory(tmp_path, capsys) -> None:
    rows = main(["slow", "--quick", "--json", str(tmp_path / "figures.json")])
    assert [one["name"] for one in rows] == ["slow"]
    assert all(rows[0][f"{one}_{figure}"] > 0 for one in ("torch", "forebay") for figure in ("per_wall_s", "peak_pss"))
    assert all(0 < share < 1.5 for share in rows[0]["shares"])
    assert "of the ideal" in capsys.readouterr().out
    runs = json.loads((tmp_path / "figures.json").read_text())[0]["runs"]
    assert {loader: len(turns) for loader, turns in runs.items()} == {"torch": 1, "forebay": 1}


def test_the_grid_leaves_out_only_what_does_not_fit() -> None:
    found = {(one.sample_bytes, one.batch) for one in SETS["grid"](False)}
    assert found == {(a, b) for a in GRID_BYTES for b in GRID_BATCHES if a * b <= LARGEST_BATCH}


def test_batches_of_every_kind_are_measured() -> None:
    rows = main(["kinds", "--quick"])
    assert [one["name"] for one in rows] == ["kinds, tensors", "kinds, text", "kinds, lists", "kinds, start"]
    assert all(one["times_per_cpu_s"][0] > 0 for one in rows)


def test_an_unknown_set_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["ready", "fast"])
    assert "no set 'fast'; there are ready, trainer, slow, grid, kinds" in capsys.readouterr().err
