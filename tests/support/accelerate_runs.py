"""Training with accelerate, on one rank or several."""

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import DataLoaderConfiguration
from support.accelerate_state import forget_accelerate
from support.framework_data import BATCH, Rows, loss_of, make_loader, make_net, rows_in
from torch.utils.data import DistributedSampler

import forebay as fb
from forebay import frameworks
from forebay.formats.errors import ForebayError


def make_accelerator(**options: Any) -> Any:
    forget_accelerate()
    config = {
        name: options.pop(name) for name in [*options] if name in ("dispatch_batches", "split_batches", "even_batches")
    }
    config["use_seedable_sampler"] = options.pop("use_seedable_sampler", False)
    return Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**config), **options)


def train(
    kind: str, data: str, steps: tuple[int, int], path: str | None = None, **options: Any
) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Rows of the steps from `steps[0]` to `steps[1]`, and the weights then. Loads from `path` what is not the beginning,
    else saves there."""
    begin, end = steps
    accelerator = make_accelerator(**options)
    torch.manual_seed(7 + begin)  # a resumed process has random numbers of its own
    net = make_net()
    model, optimizer = accelerator.prepare(net, torch.optim.AdamW(net.parameters(), lr=0.05))
    loader = frameworks.accelerate_loader(accelerator, make_loader(kind, data))
    if begin:
        accelerator.load_state(path)
    seen: list[list[int]] = []
    while begin + len(seen) < end:
        for batch in loader:
            seen.append(rows_in(batch))
            accelerator.backward(loss_of(model, batch))
            optimizer.step()
            optimizer.zero_grad()
            if begin + len(seen) == end:
                break
    if path is not None and not begin:
        accelerator.wait_for_everyone()
        accelerator.save_state(path)
        accelerator.wait_for_everyone()
    return seen, [one.detach().clone() for one in net.parameters()]


def stopped_and_resumed(rank: int, world: int, kind: str, data: str, path: str, **options: Any) -> dict[str, Any]:
    """20 steps at once; then 9, or an epoch, and the rest with new objects."""
    whole, weights = train(kind, data, (0, 20), **options)
    found: dict[str, Any] = {"whole": whole}
    for stop in (9, 7 if world == 2 else 13):
        first, _ = train(kind, data, (0, stop), f"{path}/{stop}", **options)
        second, again = train(kind, data, (stop, 20), f"{path}/{stop}", **options)
        found[str(stop)] = first + second == whole and all(map(torch.equal, weights, again))
    return found


def rows_on_ranks(rank: int, world: int, data: str) -> dict[str, Any]:
    """Whose rows they are, in the ways in which accelerate can share them out, and what it refuses."""
    found: dict[str, Any] = {}
    for name, options in {
        "plain": {},
        "dispatched": {"dispatch_batches": True},
        "split": {"split_batches": True},
    }.items():
        accelerator = make_accelerator(**options)
        loader = frameworks.accelerate_loader(accelerator, make_loader("torch", data))
        found[name] = [rows_in(batch) for batch in loader], type(loader.base_dataloader).__mro__[-4].__module__
        found[f"{name} metrics"] = sorted(
            row for batch in loader for row in accelerator.gather_for_metrics(batch["row"]).tolist()
        )
    accelerator = make_accelerator()
    found["stock over forebay"] = [
        rows_in(batch)
        for batch in accelerator.prepare(torch.utils.data.DataLoader(fb.scan(data), batch_size=BATCH, shuffle=False))
    ]
    found["feed"] = [rows_in(batch) for batch in frameworks.accelerate_loader(accelerator, make_loader("feed", data))]
    found["refused"] = [refusal(one, data) for one in (_sampler, _split, _other_world, _shard, _dispatch)]
    return found


def refusal(what: Any, data: str) -> str:
    try:
        what(data)
    except ForebayError as error:
        return str(error)
    return "not refused"


def _sampler(data: str) -> None:
    rows = Rows()
    loader = fb.DataLoader(rows, batch_size=BATCH, sampler=DistributedSampler(rows))
    frameworks.accelerate_loader(make_accelerator(), loader)


def _split(data: str) -> None:
    frameworks.accelerate_loader(make_accelerator(split_batches=True), make_loader("feed", data))


def _other_world(data: str) -> None:
    frameworks.accelerate_loader(make_accelerator(), make_loader("feed", data, rank=0, world_size=1))


def _shard(data: str) -> None:
    make_accelerator()
    loader = torch.utils.data.DataLoader(make_loader("feed", data).dataset, batch_size=1)
    list(prepare_data_loader(loader, device=torch.device("cpu"), put_on_device=True, dispatch_batches=False))


def _dispatch(data: str) -> None:
    make_accelerator()
    list(prepare_data_loader(make_loader("feed", data), device=torch.device("cpu"), put_on_device=True))
