"""What a candidate is asked to do, in the words that the suite and its child processes share."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Mode = Literal["prepare", "check", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to do a workload: a peer at one setting."""

    name: str
    """As the table shows it, such as "torch, 2 workers"."""
    workload: str
    """Module of `forebay.bench.workloads`."""
    peer: str
    """Module of `forebay.bench.peers`; it has a function named as the workload."""
    environment: str = "main"
    """Key of `peer_env.REQUIREMENTS`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the function takes by keyword: workers, threads, ..."""
    system: str = ""
    """What the settings belong to: of several candidates of one system the best is kept. Empty: the name."""
    limit: bool = False
    """Whether this is the workload's physical limit, not a loader."""

    def __post_init__(self) -> None:
        if not self.system:
            object.__setattr__(self, "system", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a candidate in a child process."""

    workload: str
    peer: str
    mode: Mode
    data: str
    """Directory of the workload's data set."""
    prepared: str
    """Directory of the peer's own format, made in mode "prepare"."""
    settings: dict[str, Any] = field(default_factory=dict)
    batch: int | None = None
    """Samples of a batch; None: as the workload says."""
    warm_s: float | None = None
    """Seconds before the clock starts; None: all of the first epoch."""
    measure_s: float | None = None
    """Least seconds that are timed; None: all of the second epoch."""
    limit: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def data_path(self) -> Path:
        return Path(self.data)

    @property
    def prepared_path(self) -> Path:
        return Path(self.prepared)


class Loader(Protocol):
    """What a peer's function gives back."""

    def epoch(self, number: int) -> Iterator[Any]:
        """The batches of one epoch, each a tuple of torch tensors in the workload's order."""
        ...


@dataclass(slots=True)
class Reiterated:
    """A `Loader` over anything that can be iterated again and again."""

    batches: Any

    def epoch(self, number: int) -> Iterator[Any]:
        set_epoch = getattr(self.batches, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(number)
        return iter(self.batches)


@dataclass(slots=True)
class PerEpoch:
    """A `Loader` whose batches come from a function of the epoch."""

    make: Any

    def epoch(self, number: int) -> Iterator[Any]:
        return iter(self.make(number))
