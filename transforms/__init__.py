"""Transforms, each loaded on use: `from forebay import transforms as T`, then `T.FillNull([...])`."""

from typing import Any

from forebay.transforms import catalog


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in catalog.MODULES:
        raise AttributeError(f"module {__name__!r} has no transform {name!r}")
    return catalog.load(name)


def __dir__() -> list[str]:
    return sorted(catalog.MODULES)
