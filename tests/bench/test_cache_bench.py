"""The bench of the cache runs; how fast, a quiet machine tells."""

import pytest

from forebay.bench import cache


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_cache_bench_measures_every_side(capsys: pytest.CaptureFixture[str]) -> None:
    table = cache.main(["--quick", "--images", "64"])
    assert {"stock", "no cache", "first epoch, filling", "second epoch", "copying"} <= set(table)
    assert all(table[name] > 0 for name in ("stock", "no cache", "second epoch", "copying"))
    assert "promised: times stock 35" in capsys.readouterr().out
