"""Transforms of whole batches on the device: widen, normalize, flip, crop, mix.

Images cross the bus as uint8 and become floats here: a quarter of the bytes. Randomness belongs to the sample: draws
are keyed by (seed, epoch, sample id, op), as in `forebay.transforms.randomness`, so a sample is augmented alike on any
rank, in any batch, on any device. They are drawn on the CPU (a few numbers a sample) and travel with the batch.

Shapes: N samples, C channels, H rows, W columns, D random numbers a sample.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from forebay.formats.errors import SchemaError, SpecError
from forebay.transforms.randomness import uniforms
from forebay.transforms.transform import Rows

Parts = dict[str | int, torch.Tensor]
"""The tensors of a batch by name, or by position when it is a tuple."""


FIRST_OP = 1 << 32
"""Ops are numbered from here in the random key, so they share no draws with the transforms of the loader's graph."""


class DeviceOp(Protocol):
    """One step on a whole batch."""

    @property
    def draws(self) -> int:
        """Random numbers that it needs per sample."""

    def apply(self, parts: Parts, drawn_ND: torch.Tensor) -> Parts:
        """The batch after it. `drawn_ND` holds its random numbers, float32 in [0, 1), on the batch's device."""


class DeviceTransform:
    """Runs device ops in sequence on a batch: a mapping, or a tuple or list of tensors.

    Call it in the loop, or give it to `DevicePrefetch`, where it overlaps with the model. In evaluation call it with
    ops that are not random.
    """

    def __init__(self, *ops: DeviceOp, seed: int = 0, ids: str | int | None = None) -> None:
        """
        Args:
            ops: run in this order.
            seed: of the draws.
            ids: the part of the batch that holds uint64 or int64 sample ids. Without one, samples are numbered as they
                come, so augmentation depends on the batch size and the number of ranks.
        """
        if not ops:
            raise SpecError("DeviceTransform has no ops; give it some, such as Widen(mean=..., std=...)")
        self.ops = ops
        self.seed = seed
        self.epoch = 0
        """Set it at the start of each epoch, so that each has other draws."""
        self._ids = ids
        self._seen = 0

    def set_epoch(self, epoch: int) -> None:
        """Use the draws of this epoch."""
        self.epoch = epoch
        self._seen = 0

    def __call__(self, batch: Any) -> Any:
        """The batch after all ops, of the same kind.

        Raises:
            SchemaError: a part that an op needs is missing, or has another type.
        """
        parts: Parts = dict(batch) if isinstance(batch, Mapping) else dict(enumerate(batch))
        rows = self._rows(parts) if any(op.draws for op in self.ops) else None
        device = next(value.device for value in parts.values() if isinstance(value, torch.Tensor))
        for place, op in enumerate(self.ops, FIRST_OP):
            drawn = torch.empty(0, 0, device=device)
            if op.draws and rows is not None:
                drawn = self._draw(rows, place, draws=op.draws, device=device)
            parts = op.apply(parts, drawn)
        if isinstance(batch, Mapping):
            return parts
        return type(batch)(parts[place] for place in range(len(parts)))

    def _rows(self, parts: Parts) -> Rows:
        if self._ids is not None:
            if self._ids not in parts:
                raise SchemaError(f"the batch has no sample ids {self._ids!r}; it has {sorted(map(str, parts))}")
            ids: NDArray[np.uint64] = parts[self._ids].cpu().numpy().astype(np.uint64)
        else:
            count = len(next(value for value in parts.values() if isinstance(value, torch.Tensor)))
            rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
            ids = np.arange(self._seen, self._seen + count, dtype=np.uint64) + np.uint64(rank << 40)
            self._seen += count
        return Rows(ids=ids, seed=self.seed, epoch=self.epoch)

    def _draw(self, rows: Rows, op: int, *, draws: int, device: torch.device) -> torch.Tensor:
        # The largest float64 below 1 would round to 1.0 in float32.
        drawn = np.minimum(uniforms(rows, op, draws), np.nextafter(np.float32(1.0), np.float32(0.0)))
        return torch.from_numpy(drawn.astype(np.float32)).to(device, non_blocking=True)


def image_part(parts: Parts, name: str | int, *, op: str) -> torch.Tensor:
    """The image tensor of a batch, shape (N, C, H, W).

    Raises:
        SchemaError: it is missing or has another number of dimensions.
    """
    if name not in parts:
        raise SchemaError(f"{op} needs {name!r}; the batch has {sorted(map(str, parts))}")
    image = parts[name]
    if not isinstance(image, torch.Tensor) or image.dim() != 4:
        found = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise SchemaError(f"{op} needs {name!r} as a tensor of shape (N, C, H, W), found {found}")
    return image


def per_channel(values: Sequence[float], image: torch.Tensor, *, op: str) -> torch.Tensor:
    """`values` in float32, one a channel, shaped to broadcast over the image.

    Raises:
        SchemaError: there are more or fewer than channels.
    """
    if len(values) not in (1, image.shape[1]):
        raise SchemaError(f"{op} has {len(values)} values, the image has {image.shape[1]} channels")
    return torch.tensor(values, dtype=torch.float32, device=image.device).reshape(1, -1, 1, 1)
