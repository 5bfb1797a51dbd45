"""forebay: prepare training data and load it with one transform graph, as fast as the hardware allows.

Every name here is loaded on use, so that `import forebay` takes milliseconds and imports none of NumPy, Arrow, Numba or torch.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "BadRows",
    "DataLoader",
    "Dataset",
    "ForebayError",
    "__version__",
    "from_recipe",
    "kernel",
    "scan",
    "transforms",
    "verify",
]

_HOMES = {
    # public name -> module that defines it
    "BadRows": "forebay.formats.errors",
    "DataLoader": "forebay.loaders.dataloader",
    "Dataset": "forebay.engine.dataset",
    "ForebayError": "forebay.formats.errors",
    "from_recipe": "forebay.engine.recipe",
    "kernel": "forebay.transforms.kernel",
    "scan": "forebay.engine.dataset",
    "verify": "forebay.formats.verify",
}

if TYPE_CHECKING:
    from forebay import transforms
    from forebay.engine.dataset import Dataset, scan
    from forebay.engine.recipe import from_recipe
    from forebay.formats.errors import BadRows, ForebayError
    from forebay.formats.verify import verify
    from forebay.loaders.dataloader import DataLoader
    from forebay.transforms.kernel import kernel
else:

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        if name in ("transforms", "hooks"):
            home = "forebay.transforms" if name == "transforms" else "forebay.loaders.hooks"
            return importlib.import_module(home)
        raise AttributeError(f"module 'forebay' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted([*__all__, "hooks"])
