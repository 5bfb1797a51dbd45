"""What is asked of forebay is judged from rates of one run, and what the limit makes impossible is told apart."""

from pathlib import Path

import pytest

from forebay.bench.catalog import CANDIDATES, WORKLOADS
from forebay.bench.demands import DEMANDS, demand_table
from forebay.bench.rows import Row
from forebay.bench.standing import rows_of
from forebay.bench.suite import read_report


def row(candidate, rate, *, workload="tokens", cpu_rate=1.0, limit=False, peak=100, first=0.1):
    return Row(
        workload=workload,
        candidate=candidate,
        rates=(rate,),
        rate=rate,
        cpu_rate=cpu_rate,
        limit=limit,
        peak_bytes=peak * 1_000_000,
        first_s=first,
    )


def lines(*rows):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in demand_table(rows)[4:]]


def test_a_ratio_is_reached_missed_or_out_of_reach_of_the_limit_itself():
    limit, ours = row("limit: memory copy", 900.0, limit=True), row("forebay", 800.0)
    found = lines(
        limit, ours, row("DALI, 1 threads", 100.0), row("torch, 0 workers", 150.0), row("numpy by hand", 700.0)
    )
    assert found[:4] == [
        ["tokens", "7 times the best peer (DALI, 1 threads)", "8.00", "9.00", "yes"],
        ["tokens", "7 times stock torch (torch, 0 workers)", "5.33", "6.00", "out of reach: the limit lies below"],
        ["tokens", "1 times numpy by hand (numpy by hand)", "1.14", "1.29", "yes"],
        ["tokens", "0.55 times the limit", "0.89", "1.00", "yes"],
    ]
    (missed, *_) = lines(limit, row("forebay", 600.0), row("DALI, 1 threads", 100.0))
    assert missed[2:] == ["6.00", "9.00", "no"]


def test_the_best_peer_is_neither_torch_nor_what_is_written_by_hand():
    (peer, *_) = lines(
        row("forebay", 800.0), row("torch, 0 workers", 700.0), row("numpy by hand", 600.0), row("Grain", 10.0)
    )
    assert peer[1] == "7 times the best peer (Grain)"


def test_transport_is_held_against_torch_with_as_many_workers_by_cpu():
    mine = row("forebay, 2 workers", 10.0, workload="transport", cpu_rate=12.0)
    others = [
        row("torch, 0 workers", 9.0, workload="transport", cpu_rate=11.0),
        row("torch, 2 workers", 5.0, workload="transport", cpu_rate=2.0),
    ]
    assert lines(mine, *others)[0][1:3] == ["5 times stock torch, as many workers, by CPU (torch, 2 workers)", "6.00"]


def test_memory_and_first_batch_are_held_against_torch_at_its_best():
    found = lines(
        row("forebay", 800.0, peak=99, first=0.104),
        row("torch, 0 workers", 150.0, peak=100, first=0.1),
        row("torch, 2 workers", 50.0, peak=10, first=0.0),
    )
    assert found[-2:] == [
        ["tokens", "PSS below 100 MB (torch, 0 workers)", "99", "", "yes"],
        ["tokens", "first batch within 0.10 s (torch, 0 workers)", "0.10", "", "yes"],
    ]
    late = lines(row("forebay", 800.0, peak=100, first=0.106), row("torch, 0 workers", 150.0, peak=100, first=0.1))
    assert [one[-1] for one in late[-2:]] == ["no", "no"]


def test_nothing_is_said_of_workloads_without_figures():
    assert demand_table([]) == []
    assert demand_table([row("torch, 0 workers", 1.0)]) == []


@pytest.mark.parametrize("demand", DEMANDS, ids=lambda one: f"{one.workload}, {one.asked}")
def test_each_demand_finds_a_rival_among_the_suites_candidates(demand):
    candidates = [
        row(one.name, 1.0, workload=workload, limit=one.limit) for workload in WORKLOADS for one in CANDIDATES[workload]
    ]
    assert demand.rivals(rows_of(candidates, demand.beside or demand.workload))


def test_the_published_table_ends_with_what_is_asked():
    place = Path(__file__).parents[2] / "docs" / "benchmarks"
    rows, _ = read_report(place / "results.json")
    assert "\n".join(["## What is asked", "", *demand_table(rows)]) in (place / "table.md").read_text()
