"""DataLoader: torch's own for torch data sets; for a forebay Dataset, threads and slots behind the same class."""

from typing import Any

import torch.utils.data


class DataLoader(torch.utils.data.DataLoader[Any]):
    """A drop-in replacement for `torch.utils.data.DataLoader`.

    With any torch data set it is torch's loader: same order, seeds, workers, errors. With a `forebay.Dataset` it is a
    `FeedLoader`, which is also a subclass of torch's, and takes these arguments by keyword:

    Args (forebay.Dataset only):
        batch_size: rows of a batch on one rank.
        shuffle: False, True (global where the data is memory-mapped Arrow, else window), "global" or "window".
        num_workers: threads that prepare batches ahead; 0 prepares them when asked for.
        drop_last: leave out the last, smaller batch.
        seed: of the order and of random transforms.
        columns: two names, to get `(x, y)` instead of a dict; None gives the dict.
        rank, world_size: from torch.distributed when it is initialized, else 0 of 1.
        window_rows: least rows of a shuffle window.
    """

    def __new__(cls, dataset: Any = None, *args: Any, **kwargs: Any) -> "DataLoader":
        if cls is DataLoader and getattr(dataset, "__forebay_dataset__", False):
            from forebay.loaders.feed_loader import FeedLoader

            return super().__new__(FeedLoader)
        return super().__new__(cls)
