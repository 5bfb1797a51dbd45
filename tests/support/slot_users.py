"""What workers do with slots, for tests: in processes of their own, which may be killed."""

import os
import signal
import time
from typing import Any

import torch
from torch.utils.data import default_collate

from forebay.loaders.arena import Arena
from forebay.loaders.slot_claims import SlotClaims
from forebay.loaders.slot_table import alone


def take_and_check(arena: Arena, worker: int, rounds: int, results: Any) -> None:
    """Take slots, write one's number to them, and see whether somebody else wrote there meanwhile."""
    claims, wrong, taken = SlotClaims(arena, worker, workers=4, limit=1 << 20), 0, 0
    for at in range(rounds):
        slot = claims.claim(1000)
        if slot < 0:
            continue
        taken += 1
        claims.reserve(slot, 1000)
        memory = arena.export(arena.offset(slot), 8)
        memory.raw = (worker * rounds + at).to_bytes(8, "little")
        time.sleep(0)
        wrong += memory.raw != (worker * rounds + at).to_bytes(8, "little")
        claims.let_go(slot)
    results.put((worker, taken, wrong))


def die_alone(arena: Arena, how: int) -> None:
    """End, or stop, while all others are kept out."""
    with alone(arena.fd):
        os.kill(os.getpid(), how)


def die_with_slots(arena: Arena, worker: int, slots: int) -> None:
    """Take slots, send the last of them, and end."""
    claims = SlotClaims(arena, worker, workers=2, limit=1 << 20)
    for _ in range(slots):
        slot = claims.claim(5000)
        claims.reserve(slot, 5000)
        arena.back(arena.offset(slot), 5000)
    claims.table.reading[slot] = 1
    os.kill(os.getpid(), signal.SIGKILL)


def make_huge(arena: Arena, results: Any) -> None:
    """Put a huge page behind the second slot, and something into it."""
    arena.make_huge(arena.offset(1))
    arena.export(arena.offset(1), 5).raw = b"there"
    results.put("made")


def policy_of(_: Any) -> int:
    """A collate function that gives the scheduling policy of its worker."""
    return os.sched_getscheduler(0)


class Keeping:
    """A collate function that keeps its last batches, and fails when one of them changes."""

    def __init__(self) -> None:
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, samples: list[Any]) -> Any:
        assert all(torch.equal(one, copy) for one, copy in self.kept), "a batch that the worker keeps was changed"
        batch = default_collate(samples)
        self.kept = [*self.kept[-2:], (batch[0][1:], batch[0][1:].clone())]
        return batch
