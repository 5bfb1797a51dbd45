"""Preparing a table with Polars, pyarrow and pandas, as `forebay.bench.prep_tabular` writes it for each."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

from forebay.bench.job import Job, Loader, PerEpoch


def prepared(job: Job, work: Callable[[str, str], None]) -> Loader:
    """A loader whose epochs are whole preparations, each into an empty directory."""

    def epoch(number: int) -> Iterator[Any]:
        target = job.prepared_path / "written"
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        work(job.data, str(target))
        yield target, job.data

    return PerEpoch(epoch)


def prep_tabular(job: Job, *, how: str) -> Loader:
    from forebay.bench import prep_tabular as by_hand

    return prepared(job, getattr(by_hand, how))
