"""forebay's loaders in accelerate: trained, resumed exactly, skipped, accumulated, on one rank and two."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from support.framework_data import BATCH, ROWS, Rows, loss_of, make_loader, make_net, rows_in, write_rows
from support.launched import launched

import forebay as fb
from forebay import frameworks
from forebay.formats.errors import SpecError

accelerate = pytest.importorskip("accelerate")
from support import accelerate_runs as runs  # noqa: E402  # imports accelerate

# accelerate warns of CPUs and of settings that a later version will have.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]

KINDS = ["torch", "feed", "deterministic", pytest.param("workers", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("seedable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_save_state_and_load_state_go_on_in_mid_epoch_and_at_its_end(
    kind: str, seedable: bool, data: str, tmp_path: Path
) -> None:
    found = runs.stopped_and_resumed(0, 1, kind, data, str(tmp_path), use_seedable_sampler=seedable)
    assert found["9"] and found["13"]
    for epoch in (found["whole"][:13], found["whole"][13:]):
        assert len(set(itertools.chain(*epoch))) == len(epoch) * BATCH
    assert found["whole"][:7] != found["whole"][13:]


@pytest.mark.parametrize("kind", ["torch", "feed", "deterministic"])
def test_the_last_short_window_of_an_accumulation_is_stepped(kind: str, data: str) -> None:
    accelerator = runs.make_accelerator(gradient_accumulation_steps=5)
    net = make_net()
    model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.05))
    loader = frameworks.accelerate_loader(accelerator, make_loader(kind, data))
    steps = []
    for _ in range(2):
        for batch in loader:
            with accelerator.accumulate(model):
                accelerator.backward(loss_of(model, batch))
                optimizer.step()
                optimizer.zero_grad()
            steps.append(accelerator.sync_gradients)
    once = [False] * 4 + [True] + [False] * 4 + [True] + [False] * 2 + [True]
    assert steps == once * 2


@pytest.mark.parametrize("steps", [0, 4, 12])
@pytest.mark.parametrize("kind", ["torch", "feed"])
def test_skip_first_batches_skips_them(kind: str, steps: int, data: str) -> None:
    accelerator = runs.make_accelerator(use_seedable_sampler=True)

    def prepared() -> Any:
        return frameworks.accelerate_loader(accelerator, make_loader(kind, data))

    whole = [rows_in(batch) for batch in prepared()]
    loader = prepared()
    assert [rows_in(batch) for batch in accelerate.skip_first_batches(loader, steps)] == whole[steps:]
    if kind == "feed":  # without reading them; and the state is right from the first batch after
        loader = prepared()
        iterator = iter(accelerate.skip_first_batches(loader, steps))
        next(iterator)
        assert loader.state_dict()["position"] == BATCH * (steps + 1)


def test_skipping_in_a_deterministic_loader_is_refused(data: str) -> None:
    loader = make_loader("deterministic", data)
    with pytest.raises(
        SpecError, match=r"another loader iterates .*instead of accelerate's skip_first_batches use state_dict"
    ):
        list(accelerate.skip_first_batches(loader, 3))
    assert len(list(loader)) == 13


def test_prepare_alone_is_safe_and_our_transport_comes_with_accelerate_loader(data: str) -> None:
    accelerator = runs.make_accelerator(use_seedable_sampler=True)
    plain = accelerator.prepare(make_loader("torch", data))
    ours = frameworks.accelerate_loader(accelerator, make_loader("torch", data, arena_bytes=1 << 20))
    assert type(plain.base_dataloader) is torch.utils.data.DataLoader
    assert isinstance(ours.base_dataloader, fb.DataLoader) and ours.base_dataloader.arena_bytes == 1 << 20
    assert isinstance(ours, torch.utils.data.DataLoader)
    assert [rows_in(batch) for batch in plain] == [rows_in(batch) for batch in ours]
    feed = make_loader("feed", data)
    assert accelerator.prepare(feed) is feed


def test_iterable_data_sets_and_loaders_without_batches_keep_their_arguments(data: str) -> None:
    class Stream(torch.utils.data.IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(10))

    accelerator = runs.make_accelerator()
    stream = frameworks.accelerate_loader(accelerator, fb.DataLoader(Stream(), batch_size=4, drop_last=True))
    assert [batch.tolist() for batch in stream] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    single = frameworks.accelerate_loader(accelerator, fb.DataLoader(Rows(), batch_size=None))
    assert [int(one["row"]) for one in single] == list(range(ROWS))


@pytest.mark.slow
def test_two_ranks_share_the_rows_once_in_each_of_accelerates_ways(data: str) -> None:
    ranks = launched(2, runs.rows_on_ranks, data)
    for way in ("plain", "dispatched", "split"):
        together = [row for one in ranks for batch in one[way][0] for row in batch]
        assert sorted(set(together)) == list(range(ROWS)) and len(together) - ROWS < 2 * BATCH, (
            way
        )  # accelerate fills up
        assert len({len(one[way][0]) for one in ranks}) == 1
        assert all(one[f"{way} metrics"] == list(range(ROWS)) for one in ranks), way
    for way in ("stock over forebay", "feed"):
        together = [row for one in ranks for batch in one[way] for row in batch]
        assert sorted(set(together)) == list(range(ROWS)) and len({len(one[way]) for one in ranks}) == 1
    assert sorted(row for one in ranks for batch in one["feed"] for row in batch) == list(range(ROWS))
    for one in ranks:
        sampler, split, world, shard, dispatch = one["refused"]
        assert (
            "has a DistributedSampler, and accelerate would share out each rank's rows among 2 ranks once more"
            in sampler
        )
        assert "split_batches=True" in split and "divide batch_size by the number of processes" in split
        assert "rank 0 of 1, this process is rank" in world
        assert "IterableDatasetShard would share out among 2 ranks the rows that this loader has shared out" in shard
        assert "DataLoaderDispatcher (dispatch_batches) would share out among 2 ranks" in dispatch


@pytest.mark.parametrize("kind", ["torch", "feed", "deterministic"])
@pytest.mark.slow
def test_two_ranks_go_on_from_a_saved_state(kind: str, data: str, tmp_path: Path) -> None:
    for one in launched(2, runs.stopped_and_resumed, kind, data, str(tmp_path)):
        assert one["9"] and one["7"]
