"""`attach` drives hooks from the loader and the optimizer alone."""

import copy
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from support.recording_streams import RecordingStreams
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from forebay.formats.errors import SpecError, StateError, UnknownNameError
from forebay.loaders.hooks.attachment import WatchSpec, attach
from forebay.loaders.hooks.counts import BatchCount
from forebay.loaders.hooks.hook import Context


@dataclass
class Diary:
    """A hook that writes down what it is told."""

    lines: list[str] = field(default_factory=list)

    def on_start(self, ctx: Context) -> None:
        self.lines.append("start")

    def on_batch(self, ctx: Context, batch: Any) -> None:
        self.lines.append(f"batch {ctx.microbatch}")

    def on_update(self, ctx: Context) -> None:
        self.lines.append(f"update {ctx.step}")

    def on_exception(self, ctx: Context, error: BaseException) -> None:
        self.lines.append(f"failed {error}")

    def on_end(self, ctx: Context) -> None:
        self.lines.append("end")

    def state_dict(self) -> dict[str, Any]:
        return {"lines": list(self.lines)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.lines = list(state_dict["lines"])


def make_loader(rows: int = 8, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(rows, dtype=torch.float32).unsqueeze(1)), batch_size=2, **options)


def make_model(**options: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(1, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.01, **options)


def train(loader: Any, model: nn.Module, optimizer: Any, every: int = 1) -> None:
    for number, (x,) in enumerate(loader, 1):
        model(x).sum().backward()
        if number % every == 0:
            optimizer.step()
            optimizer.zero_grad()


def test_a_plain_loop_is_seen_without_a_line_in_it() -> None:
    loader, (model, optimizer), diary = make_loader(), make_model(), Diary()
    with attach(loader, optimizer, hooks=[diary]) as run:
        train(loader, model, optimizer, every=2)
    assert diary.lines == ["start", "batch 1", "batch 2", "update 1", "batch 3", "batch 4", "update 2", "end"]
    assert (run.ctx.samples, run.ctx.microbatch, run.ctx.step, run.ctx.skipped) == (8, 4, 2, 0)
    assert run.ctx.wait_s > 0


def test_after_closing_nothing_is_seen_and_the_loader_is_what_it_was() -> None:
    loader, (model, optimizer) = make_loader(), make_model()
    before = set(loader.__dict__)
    run = attach(loader, optimizer)
    assert isinstance(loader, DataLoader) and type(loader) is not DataLoader
    run.close()
    run.close()
    train(loader, model, optimizer)
    assert type(loader) is DataLoader and set(loader.__dict__) == before
    assert (run.ctx.microbatch, run.ctx.step) == (0, 0)


def test_two_runs_on_one_loader_both_see_it_and_leave_in_any_order() -> None:
    loader = make_loader()
    first, second = attach(loader), attach(loader)
    list(loader)
    first.close()
    list(loader)
    second.close()
    assert (first.ctx.microbatch, second.ctx.microbatch) == (4, 8)
    assert type(loader) is DataLoader


@pytest.mark.parametrize("workers", [0, 1])
def test_every_kind_of_stock_loader_gives_the_same_batches(workers: int) -> None:
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": bool(workers)}
    if workers:
        options["multiprocessing_context"] = "spawn"
    loader = make_loader(**options)
    with attach(loader) as run:
        batches = [x for _ in range(2) for (x,) in loader]
    assert torch.equal(torch.cat(batches).flatten(), torch.arange(8.0).repeat(2))
    assert run.ctx.microbatch == 8
    assert len(loader) == 4


def test_a_copy_and_a_pickle_of_a_watched_loader_are_unwatched() -> None:
    loader = make_loader()
    with attach(loader) as run:
        for twin in (copy.copy(loader), pickle.loads(pickle.dumps(loader))):
            assert type(twin) is DataLoader
            assert len(list(twin)) == 4
    assert run.ctx.microbatch == 0


class Numbers:
    """A loader of no framework."""

    def __iter__(self) -> Any:
        return iter([torch.ones(3), torch.ones(2)])


def test_any_iterable_object_is_a_loader() -> None:
    loader = Numbers()
    with attach(loader) as run:
        list(loader)
    assert (run.ctx.microbatch, run.ctx.samples) == (2, 5)
    assert type(loader) is Numbers


class Broken:
    def __iter__(self) -> Any:
        yield torch.ones(1)
        raise OSError("shard 3 is gone")


def test_an_error_of_the_loader_reaches_the_hooks_once_and_the_loop_as_it_was() -> None:
    loader, diary = Broken(), Diary()
    with pytest.raises(OSError, match="shard 3"), attach(loader, hooks=[diary]):
        list(loader)
    assert diary.lines == ["start", "batch 1", "failed shard 3 is gone", "end"]


def test_an_error_of_the_loop_reaches_the_hooks() -> None:
    loader, diary = make_loader(), Diary()
    with pytest.raises(ValueError, match="mine"), attach(loader, hooks=[diary]):
        for _ in loader:
            raise ValueError("mine")
    assert diary.lines == ["start", "batch 1", "failed mine", "end"]


@pytest.mark.parametrize("fused", [False, True], ids=["foreach", "fused"])
def test_a_step_that_the_scaler_skips_is_counted_and_is_no_update(fused: bool) -> None:
    loader, (model, optimizer), diary = make_loader(), make_model(fused=fused), Diary()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=100)
    with attach(loader, optimizer, hooks=[diary], watch=WatchSpec(scaler=scaler)) as run:
        for number, (x,) in enumerate(loader, 1):
            before = model.weight.detach().clone()
            scaler.scale(model(x).sum() * (float("inf") if number in (2, 4) else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            assert torch.equal(before, model.weight) == (number in (2, 4))
    assert (run.ctx.step, run.ctx.skipped) == (2, 2)
    assert [line for line in diary.lines if line.startswith("update")] == ["update 1", "update 2"]


def test_the_device_is_asked_when_the_fetch_begins() -> None:
    streams, loader = RecordingStreams(), make_loader()
    seen = []
    with attach(loader, watch=WatchSpec(streams=streams)) as run:
        for number, _ in enumerate(loader):
            seen.append(run.ctx.exposed)
            streams.busy = number % 2 == 0
    assert seen == [True, False, True, False]


def test_batches_of_ones_own_kind_are_counted_by_ones_own_function() -> None:
    loader = make_loader()
    with attach(loader, watch=WatchSpec(count=lambda batch: BatchCount(1, 7, 9))) as run:
        list(loader)
    assert (run.ctx.samples, run.ctx.tokens, run.ctx.padded_tokens) == (4, 28, 36)


def test_state_goes_to_the_same_hooks_and_no_others() -> None:
    loader, (model, optimizer) = make_loader(), make_model()
    with attach(loader, optimizer, hooks=[Diary()]) as run:
        train(loader, model, optimizer)
        state = run.state_dict()
    fresh = Diary()
    with attach(loader, optimizer, hooks=[fresh]) as again:
        again.load_state_dict(state)
        assert (again.ctx.step, again.ctx.samples) == (4, 8)
    assert fresh.lines[:-1] == state["hooks"][0][1]["lines"]
    with attach(loader, optimizer) as other, pytest.raises(StateError, match=r"hooks \['Diary'\], attached are \[\]"):
        other.load_state_dict(state)
    with attach(loader) as other, pytest.raises(StateError, match="version 9.*reads version 1"):
        other.load_state_dict({**state, "version": 9})


class Refuses:
    def on_start(self, ctx: Context) -> None:
        raise SpecError("no model")


def test_when_a_hook_refuses_nothing_stays_attached() -> None:
    loader, (_, optimizer) = make_loader(), make_model()
    with pytest.raises(SpecError, match="no model"):
        attach(loader, optimizer, hooks=[Refuses()])
    assert type(loader) is DataLoader and not optimizer._optimizer_step_post_hooks


class Typo:
    def on_bacth(self, ctx: Context, batch: Any) -> None: ...


@pytest.mark.parametrize(
    ("loader", "optimizer", "hooks", "error", "message"),
    [
        ([1, 2], None, [], SpecError, r"loader is a builtins.list.*DataLoader"),
        (iter(Numbers()), None, [], SpecError, "cannot be watched in place"),
        (make_loader(), "adam", [], SpecError, "optimizer is a str, expected a torch.optim.Optimizer"),
        (make_loader(), None, [object()], SpecError, "hook object has no event method"),
        (make_loader(), None, [Diary], SpecError, r"class Diary, expected an instance; write Diary\(\.\.\.\)"),
        (make_loader(), None, [Typo()], UnknownNameError, "'on_bacth' in hook Typo; did you mean on_batch"),
    ],
)
def test_what_cannot_work_is_refused_at_once(loader, optimizer, hooks, error, message) -> None:
    with pytest.raises(error, match=message):
        attach(loader, optimizer, hooks=hooks)
