"""torchdata: StatefulDataLoader, which is torch's loader with state, and the nodes, which use threads."""

from collections.abc import Iterator
from typing import Any

import torch
import torchdata.nodes as nodes
from torch.utils.data import RandomSampler, SequentialSampler, default_collate
from torchdata.stateful_dataloader import StatefulDataLoader

from forebay.bench.job import Job, Loader, PerEpoch
from forebay.bench.peers import torch_loader
from forebay.bench.peers.packed_text import Documents, Pack
from forebay.bench.peers.rows_of_table import RowGroups, cut
from forebay.bench.workloads import images as image_workload
from forebay.bench.workloads import python as python_workload
from forebay.bench.workloads import ragged_text as text_workload
from forebay.bench.workloads import tabular as table_workload
from forebay.bench.workloads import tokens as token_workload
from forebay.bench.workloads import transport as transport_workload


def tokens(job: Job, *, how: str, workers: int) -> Loader:
    return _made(torch_loader.TokenSequences(job.data_path), job.batch or token_workload.BATCH, how, workers)


def images(job: Job, *, how: str, workers: int) -> Loader:
    return _made(torch_loader.ImageFiles(job.data_path, "opencv"), job.batch or image_workload.BATCH, how, workers)


def images_cached(job: Job, *, how: str, workers: int) -> Loader:
    return _made(torch_loader.ImageSquares(job.data_path), job.batch or image_workload.BATCH, how, workers)


def python(job: Job, *, how: str, workers: int) -> Loader:
    return _made(python_workload.dataset(job.data_path), job.batch or python_workload.BATCH, how, workers)


def transport(job: Job, *, how: str, workers: int) -> Loader:
    return _made(transport_workload.dataset(job.data_path), job.batch or transport_workload.BATCH, how, workers)


def ragged_text(job: Job, *, how: str, workers: int) -> Loader:
    documents, size = Documents(job.data_path), job.batch or text_workload.BATCH
    pack = Pack(job.data_path, parallel=workers == 0)
    if how == "stateful":
        loader: Any = StatefulDataLoader(documents, size, shuffle=True, num_workers=workers, collate_fn=pack)
        return PerEpoch(lambda number: iter(loader))
    made = _nodes(documents, size, how, workers, pack)
    return PerEpoch(lambda number: _tuples(made))


def tabular(job: Job, *, how: str, workers: int) -> Loader:
    if how == "stateful":
        rows = torch_loader.TableBatches(job.data_path, job.batch or table_workload.BATCH)
        loader = StatefulDataLoader(rows, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
        return PerEpoch(lambda number: map(tuple, loader))
    groups, size = RowGroups(job.data_path), job.batch or table_workload.BATCH
    root = nodes.SamplerWrapper(SequentialSampler(range(len(groups))))
    mapped = nodes.ParallelMapper(root, groups.__getitem__, num_workers=workers, method="thread")
    loader = nodes.Loader(nodes.Unbatcher(nodes.Mapper(mapped, lambda group: cut(group, size))))
    return PerEpoch(lambda number: iter(loader))


def _made(dataset: Any, batch: int, how: str, workers: int) -> Loader:
    if how == "stateful":
        loader = StatefulDataLoader(dataset, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        return PerEpoch(lambda number: map(tuple, loader))
    made = _nodes(dataset, batch, how, workers)
    return PerEpoch(lambda number: _tuples(made))


def _nodes(dataset: Any, batch: int, how: str, workers: int, collate: Any = default_collate) -> Any:
    """Sampler, batches of numbers, then whole batches made in parallel: its documentation's way to spare queues."""
    numbers = nodes.Batcher(nodes.SamplerWrapper(RandomSampler(dataset)), batch, drop_last=False)

    mapped = nodes.ParallelMapper(numbers, Fetch(dataset, collate), num_workers=workers, method=how, in_order=True)
    return nodes.Loader(nodes.Prefetcher(mapped, prefetch_factor=2))


class Fetch:
    """A batch of a data set from its numbers; travels to processes."""

    def __init__(self, dataset: Any, collate: Any) -> None:
        self._dataset, self._collate = dataset, collate

    def __call__(self, numbers: list[int]) -> Any:
        if torch.get_num_threads() > 1:
            torch.set_num_threads(1)
        return self._collate([self._dataset[at] for at in numbers])


def _tuples(loader: Any) -> Iterator[Any]:
    for batch in loader:
        yield tuple(batch)
