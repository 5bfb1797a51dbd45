"""The largest batch size that fits in memory, the same on every rank."""

import gc
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.optim import Optimizer

from forebay.formats.errors import LoaderError, SpecError

_TOO_MUCH = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_NOT_SUPPORTED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TOO_MUCH)


def find_batch_size(
    attempt: Callable[[int], object],
    *,
    start: int,
    most: int,
    multiple_of: int = 1,
    optimizer: Optimizer | None = None,
) -> int:
    """Double from `start` until memory runs out or `most` is reached, then halve the gap.

    Ranks agree after each attempt: it failed when it failed on any, so none of them runs ahead into a collective that
    the others never enter. `attempt` must therefore not end in a collective that a failed rank would miss: run forward
    and backward of the unwrapped model, or of DDP inside `no_sync()`.

    Args:
        attempt: runs one whole step of this batch size on the longest samples there are. Only its out-of-memory error
            is caught. It should not update weights that you want to keep.
        start: size to begin with; halved while even that does not fit.
        most: size at which to stop.
        multiple_of: the answer is a multiple of this.
        optimizer: its gradients are dropped after each attempt.

    Returns:
        The largest size found to fit.

    Raises:
        SpecError: the bounds make no sense.
        LoaderError: not even `multiple_of` samples fit.
    """
    if not 1 <= multiple_of <= start <= most:
        raise SpecError(
            f"start={start}, most={most}, multiple_of={multiple_of}; expected 1 <= multiple_of <= start <= most"
        )
    fits, too_much = 0, most // multiple_of + 1
    size = start // multiple_of
    while fits + 1 < too_much:
        if _fits_everywhere(attempt, size * multiple_of, optimizer=optimizer):
            fits = size
            size = min(2 * size, too_much - 1) if too_much > most // multiple_of else (fits + too_much) // 2
        else:
            too_much = size
            size = (fits + too_much) // 2
    if not fits:
        raise LoaderError(
            f"a batch of {multiple_of} does not fit in memory; use a smaller model, shorter samples or bf16"
        )
    return fits * multiple_of


def _fits_everywhere(attempt: Callable[[int], object], size: int, *, optimizer: Optimizer | None) -> bool:
    fits = True
    try:
        attempt(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    # The error is gone here: its traceback held the frames, and with them the tensors of the failed attempt.
    if optimizer is not None:
        optimizer.zero_grad(set_to_none=True)
    if not fits:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if dist.is_available() and dist.is_initialized():
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        shared = torch.tensor(int(fits), device=device)
        dist.all_reduce(shared, op=dist.ReduceOp.MIN)
        fits = bool(shared)
    return fits
