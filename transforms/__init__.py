"""Transforms, each loaded on use: `from forebay import transforms as T`, then `T.FillNull([...])`."""

import importlib
from contextlib import suppress
from typing import Any

from forebay.transforms import catalog


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in catalog.MODULES:
        raise AttributeError(f"module {__name__!r} has no transform {name!r}")
    found = catalog.load(name)
    family = getattr(found, "family", "")
    if family:  # what plans it, now and not when the first batch is waited for
        importlib.import_module(f"forebay.transforms.fuse_{family}")
        importlib.import_module("forebay.transforms.compiled").get_ready()
    for library in getattr(found, "needs", ()):
        with suppress(ImportError):  # what needs it says so when it is used
            importlib.import_module(library)
    return found


def __dir__() -> list[str]:
    return sorted(catalog.MODULES)
