"""Going on in Lightning Fabric, which numbers the epochs of distributed samplers by itself and forgets the number."""

from typing import Any

from forebay.formats.errors import SpecError
from forebay.loaders.dataloader import DataLoader


def resume_fabric(loader: Any) -> None:
    """After `fabric.load`: let Fabric count the epochs of this loader from where its state is.

    Fabric calls `set_epoch` of a DistributedSampler with the number of loops that its wrapper has seen, from 0 in each new
    process, so that a resumed epoch would get the order of the first one. Does nothing where there is no such sampler.

    Args:
        loader: what `fabric.setup_dataloaders` gave for a `forebay.DataLoader`.

    Raises:
        SpecError: it is not that.
    """
    inner = getattr(loader, "_dataloader", None)
    if not hasattr(loader, "_num_iter_calls") or not isinstance(inner, DataLoader):
        raise SpecError(
            f"resume_fabric got a {type(loader).__name__} over {type(inner).__name__}; expected what "
            "fabric.setup_dataloaders(forebay.DataLoader(...)) gave"
        )
    epoch = inner.sampler_epoch()
    if epoch is not None:
        loader._num_iter_calls = epoch
