"""One word for the precision of a run, in the words of torch, Lightning, the HF Trainer and accelerate."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from forebay.formats.errors import SpecError, UnknownNameError

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Precision:
    """Parameters stay in float32; matrix products run in `name`.

    bf16 has the range of float32, so it needs no loss scaler. fp16 has a small range: it needs one, and steps whose
    gradients overflow are skipped. float8 is no autocast type (torch turns autocast off with a warning): it replaces
    the Linear layers instead, see `Float8`.
    """

    name: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __post_init__(self) -> None:
        if self.name in ("fp8", "float8"):
            raise SpecError(
                f"precision {self.name!r} is no autocast type; use prepare_model(model, Float8()) and Precision('bf16')"
            )
        if self.name not in _DTYPES:
            raise UnknownNameError.of("precision", str(self.name), _DTYPES)

    @property
    def dtype(self) -> torch.dtype | None:
        """What autocast casts to; None for fp32."""
        return _DTYPES[self.name]

    def autocast(self, device_type: str) -> AbstractContextManager[Any]:
        """The context for the forward pass and the loss. Not for the backward pass, which follows by itself."""
        return nullcontext() if self.dtype is None else torch.autocast(device_type, dtype=self.dtype)

    def scaler(self, device_type: str, *, init_scale: float = 2.0**16) -> torch.amp.GradScaler:
        """The loss scaler: enabled for fp16 only, so a loop may call it in every precision."""
        return torch.amp.GradScaler(device_type, enabled=self.name == "fp16", init_scale=init_scale)

    def to_lightning(self) -> str:
        """For `Trainer(precision=...)` and `Fabric(precision=...)`."""
        return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[self.name]

    def to_hf(self) -> dict[str, bool]:
        """For `TrainingArguments(**precision.to_hf())`."""
        return {"bf16": self.name == "bf16", "fp16": self.name == "fp16"}

    def to_accelerate(self) -> str:
        """For `Accelerator(mixed_precision=...)`."""
        return "no" if self.name == "fp32" else self.name
