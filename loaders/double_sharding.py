"""Rows that are shared out already must not be shared out, or given, once more: refused by name."""

from torch.utils.data import get_worker_info

from forebay.formats.errors import SpecError


def refuse_torch_workers() -> None:
    """A rank's rows are given once: not by each of several worker processes that a framework or a stock loader starts.

    Raises:
        SpecError: this is one of several workers.
    """
    worker = get_worker_info()
    if worker is not None and worker.num_workers > 1:
        raise SpecError(
            f"this is worker {worker.id} of {worker.num_workers} of a torch loader over forebay's own: each of them would give "
            "all rows of the rank; use forebay's loader as it is (its num_workers are threads)"
        )
