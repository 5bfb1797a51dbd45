"""The benchmark of the first use runs, and tells forebay's share apart."""

from forebay.bench.first_use import main


def test_it_measures_both_processes():
    found = main(["--quick"])
    assert found["pipeline"] > 0 and found["libraries"] > 0
    assert found["forebay"] == found["pipeline"] - found["libraries"]
