"""forebay's loaders in training frameworks: `from forebay import frameworks`. Each name is loaded when it is first used.

accelerate_loader (accelerate), HFLoaders (the HF Trainer), resume_fabric (Lightning Fabric). Lightning's Trainer and plain DDP
need none. See docs/frameworks.md.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.loaders.frameworks.accelerate_inner import accelerate_loader
    from forebay.loaders.frameworks.fabric import resume_fabric
    from forebay.loaders.frameworks.hf import HFLoaders
else:
    import importlib

    _HOMES = {"HFLoaders": "hf", "accelerate_loader": "accelerate_inner", "resume_fabric": "fabric"}

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __dir__():
        return sorted(_HOMES)


__all__ = ["HFLoaders", "accelerate_loader", "resume_fabric"]
