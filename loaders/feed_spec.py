"""What the user asks of a loader over a forebay Dataset, and the state it can go on from."""

from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.engine.fingerprint import fingerprint
from forebay.engine.order import Shuffle
from forebay.formats.errors import SpecError, StateError
from forebay.loaders.by_length import ByLength
from forebay.loaders.ragged import Pad, Ragged

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedSpec:
    """How rows become batches."""

    batch_size: int = 1
    """Rows of a batch on one rank."""
    shuffle: Shuffle = "none"
    """"global": any row anywhere (memory-mapped Arrow). "window": fragments permuted, rows permuted in a window of them."""
    seed: int = 0
    """Of the order and of random transforms."""
    drop_last: bool = False
    threads: int = 0
    """Threads that prepare batches ahead; 0 prepares them when they are asked for."""
    python_processes: int = 0
    """Processes that run the functions of `map_batches`; 0 runs them in the threads."""
    rank: int = 0
    world_size: int = 1
    window_rows: int | None = None
    """Rows of a shuffle window; None: 200,000, or fewer where these are more than 256 MB of files."""
    lanes: int = 8
    """Places of the data that a shuffle window is taken from, side by side. Ranks whose number divides it have lanes of
    their own: then none decodes what another is given."""
    by_length: ByLength | None = None
    """Rows of about the same length in a batch; None: rows as the order gives them."""
    ragged: Ragged = Pad()
    """What becomes of columns of lists."""
    overwrite: bool = False
    """Whether a batch's memory may be written again as soon as the next chunk of batches is given out."""

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise SpecError(f"batch_size is {self.batch_size!r}; expected a whole number of at least 1")
        if self.threads < 0:
            raise SpecError(f"num_workers is {self.threads}; expected 0 or more threads")
        if self.python_processes < 0:
            raise SpecError(f"python_processes is {self.python_processes}; expected 0 (none) or more")
        if not 0 <= self.rank < self.world_size:
            raise SpecError(f"rank is {self.rank} of world_size {self.world_size}; expected 0 <= rank < world_size")

    @property
    def dealt_lanes(self) -> int:
        """Lanes that rows come from in turn: the row at position p from lane p % dealt_lanes. 1: there are none."""
        return self.lanes if self.shuffle == "window" else 1

    @property
    def dealt(self) -> bool:
        """Whether lanes can be dealt to ranks: then those of lanes l with l % world_size == rank are this rank's."""
        return self.world_size == 1 or (self.shuffle == "window" and self.lanes % self.world_size == 0)

    @property
    def global_batch(self) -> int:
        """Rows of a step on all ranks together."""
        return self.batch_size * self.world_size

    def identity(self, data: str, *, mixed: bool = False) -> str:
        """32 hex digits for all that decides which row comes when, beside the seed: data of fingerprint `data`, the shuffle,
        and how rows become batches where that moves them. `mixed`: the data is a mixture."""
        order: list[Any] = [self.shuffle, *([self.window_rows, self.lanes] if self.shuffle == "window" else [])]
        if self.by_length is not None:  # what a batch holds then depends on its greatest number of rows, too
            order += [asdict(self.by_length), self.batch_size]
        if self.shuffle == "window" and (mixed or self.by_length is not None):
            order.append("dealt")  # these orders had another meaning before lanes were dealt here, too
        return fingerprint(data, order)

    def steps(self, rows: int) -> int:
        """Steps of an epoch over `rows` rows: the same number on every rank, known beforehand."""
        return rows // self.global_batch if self.drop_last else -(-rows // self.global_batch)

    def whole_shares(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(S, batch_size) this rank's positions in each whole global batch that begins at `starts` (S,).

        A window's lanes take turns, so there a rank takes each W-th position; else a run of its own.
        """
        mine = np.arange(self.batch_size)
        if self.shuffle != "window":
            return starts[:, None] + (self.rank * self.batch_size + mine)
        return (starts + (self.rank - starts) % self.world_size)[:, None] + self.world_size * mine

    def last_share(self, start: int, rows: int) -> NDArray[np.int64]:
        """(n,) this rank's positions in the global batch that begins at `start` and ends, short, with the epoch.

        It is split evenly. A rank that would get none repeats a row, so that all ranks make as many steps.
        """
        if self.shuffle == "window":
            mine = np.arange(start + (self.rank - start) % self.world_size, rows, self.world_size)
            again = (
                start - self.world_size + (self.rank - start) % self.world_size
            )  # one that this rank was given before
        else:
            each, more = divmod(rows - start, self.world_size)
            first = start + self.rank * each + min(self.rank, more)
            mine, again = np.arange(first, first + each + (self.rank < more)), start
        return mine if len(mine) else np.array([again if again >= 0 else start])


@dataclass(frozen=True, slots=True)
class FeedState:
    """Where a loader is: the same on every rank, for any number of threads and ranks."""

    seed: int
    epoch: int
    position: int
    """Rows of the epoch that all ranks together have been given."""
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], identity: str, *, seed: int) -> "FeedState":
        """The state that `to_json` gave, for a loader with this identity and seed.

        Raises:
            StateError: it is no such state, of a later version, or of other data, transforms or order.
            SpecError: it was made with another seed.
        """
        keys = set(value) if isinstance(value, dict) else set()
        if not keys.issuperset(("version", "seed", "epoch", "position", "fingerprint")):
            shown = (
                f"keys {', '.join(sorted(map(str, keys))[:6]) or 'none'}" if isinstance(value, dict) else repr(value)
            )
            raise StateError(
                f"this is no state of such a loader: found {shown}; expected version, seed, epoch, position, fingerprint, as "
                "state_dict() gives them (states of loaders over other data sets have other keys)"
            )
        if value["version"] != VERSION:
            raise StateError(f"loader state of version {value['version']}; this forebay reads version {VERSION}")
        if value["fingerprint"] != identity:
            raise StateError(
                f"the loader state belongs to other data, transforms or shuffling (fingerprint {value['fingerprint']}, here "
                f"{identity}; batching=ByLength and the weights of a mixture count, too); going on from it would repeat and "
                "lose rows"
            )
        if value["seed"] != seed:
            raise SpecError(f"the state was made with seed={value['seed']}, this loader has seed={seed}: give the same")
        for name in ("epoch", "position"):
            if not isinstance(value[name], Integral) or value[name] < 0:
                raise StateError(f"{name} of the loader state is {value[name]!r}; expected a whole number from 0 on")
        return cls(seed, value["epoch"], value["position"], identity)
