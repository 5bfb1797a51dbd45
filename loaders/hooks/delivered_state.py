"""The state of a loader that is read ahead: the one after the batch that was last given out."""

from typing import Any

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.hook import Stateful


class DeliveredState:
    """Keeps the loader's state of each batch until that batch is given out."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._delivered: dict[str, Any] | None = None

    def after_fetch(self) -> dict[str, Any] | None:
        """The loader's state now, to be kept beside the batch just fetched; None where it has none."""
        return self._loader.state_dict() if isinstance(self._loader, Stateful) else None

    def deliver(self, state: dict[str, Any] | None) -> None:
        """The batch that `state` was kept beside is given out now."""
        self._delivered = state

    def clear(self) -> None:
        """Nothing is read ahead: the loader's own state is the right one."""
        self._delivered = None

    def state_dict(self) -> dict[str, Any]:
        """The state after the batch last given out.

        Raises:
            SpecError: the loader has none.
        """
        own: dict[str, Any] = self._stateful().state_dict()
        return own if self._delivered is None else self._delivered

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the loader back. Takes effect at the next `iter()`.

        Raises:
            SpecError: the loader has no state.
        """
        self._stateful().load_state_dict(state)
        self.clear()

    def _stateful(self) -> Stateful:
        if not isinstance(self._loader, Stateful):
            raise SpecError(
                f"{type(self._loader).__name__} has no state_dict() and load_state_dict(); use forebay.DataLoader, or "
                "torchdata's StatefulDataLoader"
            )
        return self._loader
