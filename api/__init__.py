"""forebay: prepare training data and load it with one transform graph, as fast as the hardware allows.

Every name here is loaded on use, so that `import forebay` takes milliseconds and imports none of NumPy, Arrow, Numba or torch.
"""

import importlib
import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "BadRows",
    "ByLength",
    "DataLoader",
    "Dataset",
    "ForebayError",
    "Packed",
    "Pad",
    "__version__",
    "from_recipe",
    "kernel",
    "mix",
    "scan",
    "transforms",
    "verify",
]

_HOMES = {
    # public name -> module that defines it
    "BadRows": "forebay.formats.errors",
    "ByLength": "forebay.loaders.by_length",
    "DataLoader": "forebay.loaders.dataloader",
    "Dataset": "forebay.engine.dataset",
    "ForebayError": "forebay.formats.errors",
    "Packed": "forebay.loaders.ragged",
    "Pad": "forebay.loaders.ragged",
    "from_recipe": "forebay.engine.recipe",
    "kernel": "forebay.transforms.kernel",
    "mix": "forebay.engine.mix",
    "scan": "forebay.engine.dataset",
    "verify": "forebay.formats.verify",
}

_BOTH = {"forebay.engine.dataset", "forebay.loaders.dataloader"}
"""Who has asked for both will load the one with the other, and waits for that at the top of a script, not for the first batch."""

if TYPE_CHECKING:
    from forebay import transforms
    from forebay.engine.dataset import Dataset, scan
    from forebay.engine.mix import mix
    from forebay.engine.recipe import from_recipe
    from forebay.formats.errors import BadRows, ForebayError
    from forebay.formats.verify import verify
    from forebay.loaders.by_length import ByLength
    from forebay.loaders.dataloader import DataLoader
    from forebay.loaders.ragged import Packed, Pad
    from forebay.transforms.kernel import kernel
else:

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            found = getattr(importlib.import_module(_HOMES[name]), name)
            if sys.modules.keys() >= _BOTH:
                importlib.import_module("forebay.loaders.feed_loader")
                importlib.import_module("forebay.formats.arrow_ipc")
            return found
        if name in ("transforms", "hooks", "frameworks"):
            home = "forebay.transforms" if name == "transforms" else f"forebay.loaders.{name}"
            return importlib.import_module(home)
        raise AttributeError(f"module 'forebay' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted([*__all__, "frameworks", "hooks"])
