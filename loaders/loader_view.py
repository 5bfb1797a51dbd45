"""A loader as its iterators see it, and what both of them need."""

from typing import Any

State = dict[str, Any]

PROFILE_NAME = "enumerate(DataLoader)#{}.__next__"
"""What profiles call a step; tools look for torch's names."""


class LoaderView:
    """A loader as its iterator sees it: with our indices and our context."""

    def __init__(self, loader: Any, **instead: Any) -> None:
        self.__dict__.update(instead, _loader=loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_loader"], name)
