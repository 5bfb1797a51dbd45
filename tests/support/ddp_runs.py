"""Training with torch's DistributedDataParallel and a plain loop."""

from typing import Any

import torch
import torch.distributed as dist
from support.framework_data import loss_of, make_loader, make_net, rows_in
from torch.nn.parallel import DistributedDataParallel


def train(
    kind: str, data: str, steps: tuple[int, int], saved: dict[str, Any] | None
) -> tuple[list[list[int]], dict[str, Any]]:
    """Rows of the steps from `steps[0]` to `steps[1]`, and all that a checkpoint needs."""
    begin, end = steps
    ranks = {"num_replicas": dist.get_world_size(), "rank": dist.get_rank()}
    loader = make_loader(kind, data, **({"ranks": ranks} if kind == "sampler" else {}))
    model = DistributedDataParallel(make_net())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    epoch = 0
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])
        epoch = saved["epoch"]
    seen: list[list[int]] = []
    while begin + len(seen) < end:
        if kind == "sampler":
            loader.sampler.set_epoch(epoch)
        for batch in loader:
            seen.append(rows_in(batch))
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
            if begin + len(seen) == end:
                break
        else:
            epoch += 1
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict()}
    return seen, {**state, "epoch": epoch}


def stopped_and_resumed(rank: int, world: int, data: str) -> dict[str, Any]:
    """17 steps at once; then 9 and the rest with new objects and the first rank's checkpoint. For both kinds."""
    found: dict[str, Any] = {}
    for kind in ("sampler", "feed"):
        whole, end = train(kind, data, (0, 17), None)
        first, saved = train(kind, data, (0, 9), None)
        box = [saved]
        dist.broadcast_object_list(box, src=0)
        second, again = train(kind, data, (9, 17), box[0])
        pairs = zip(end["model"].values(), again["model"].values(), strict=True)
        found[kind] = {
            "whole": whole,
            "exact": first + second == whole and all(torch.equal(one, other) for one, other in pairs),
            "state equal": box[0]["loader"] == saved["loader"],
        }
    return found
