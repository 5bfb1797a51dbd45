"""datatrove's data set of token files, in torch's loader."""

from typing import Any

import torch
from datatrove.utils.dataset import DatatroveFileDataset
from torch.utils.data import DataLoader

from forebay.bench.datasets.tokens import LENGTH, open_tokens
from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.workloads import tokens as token_workload


def prepare_tokens(job: Job) -> None:
    """Its file has windows of LENGTH + 1 ids one after the other."""
    ids, count = open_tokens(job.data_path), token_workload.samples(job.data_path)
    job.prepared_path.mkdir(parents=True, exist_ok=True)
    with open(f"{job.prepared}/tokens.ds", "wb") as file:
        for number in range(count):
            file.write(ids[number * LENGTH : (number + 1) * LENGTH + 1].tobytes())


def _shift(rows: list[Any]) -> Any:
    block = torch.stack([row["input_ids"] for row in rows])
    return block[:, :-1], block[:, 1:]


def tokens(job: Job, *, workers: int) -> Loader:
    data = DatatroveFileDataset(f"{job.prepared}/tokens.ds", seq_len=LENGTH, token_size=2)
    size = job.batch or token_workload.BATCH
    loader: Any = DataLoader(
        data, size, shuffle=True, num_workers=workers, collate_fn=_shift, persistent_workers=workers > 0
    )
    return PerEpoch(lambda number: iter(loader))
