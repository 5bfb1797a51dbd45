"""forebay's loaders in a plain loop with DistributedDataParallel: each row once, as many steps, resumed exactly."""

from pathlib import Path

from support import ddp_runs
from support.framework_data import ROWS, write_rows
from support.ranks import on_ranks


def test_two_ranks_share_the_rows_and_go_on(tmp_path: Path) -> None:
    ranks = on_ranks(2, ddp_runs.stopped_and_resumed, write_rows(tmp_path / "rows"))
    for kind in ("sampler", "feed"):
        assert all(one[kind]["exact"] and one[kind]["state equal"] for one in ranks), kind
        for epoch in (slice(0, 7), slice(7, 14)):
            together = [row for one in ranks for batch in one[kind]["whole"][epoch] for row in batch]
            assert sorted(together) == list(range(ROWS))
        assert ranks[0][kind]["whole"][:7] != ranks[0][kind]["whole"][7:14]
