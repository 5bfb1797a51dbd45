"""What users of other loaders complained of in frameworks, tried on ours. Each test names the complaint."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from support.drawing_rows import DrawnRows, StatefulStream
from support.framework_data import ROWS, make_loader, write_rows

import forebay as fb

pl = pytest.importorskip("lightning.pytorch")
from support import lightning_runs as runs  # noqa: E402  # imports Lightning

# Lightning warns of few workers, of iterable data sets with a length, and of folders that exist.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("persistent", [False, True])
def test_epochs_after_a_resume_in_mid_epoch_are_whole(persistent: bool) -> None:
    """datasets#7447: epochs were shorter after resuming a stateful iterable data set with persistent workers."""

    def make() -> fb.DataLoader:
        return fb.DataLoader(StatefulStream(40), batch_size=4, num_workers=2, persistent_workers=persistent)

    loader = make()
    batches = iter(loader)
    begun = [next(batches).tolist() for _ in range(3)]
    resumed = make()
    resumed.load_state_dict(loader.state_dict())
    del batches, loader
    rest = [batch.tolist() for batch in resumed]
    assert sorted(itertools.chain(*begun, *rest)) == list(range(40))
    for _ in range(2):
        assert sorted(itertools.chain(*(batch.tolist() for batch in resumed))) == list(range(40))


@pytest.mark.parametrize("kind", ["torch", "sampler", "feed", "deterministic"])
def test_the_second_resume_goes_on_as_the_first(kind: str, data: str, tmp_path: Path) -> None:
    """datasets#8308: a run that was resumed twice began its epoch again."""
    whole, _ = runs.fit(make_loader(kind, data), tmp_path, 24)
    seen: list[list[int]] = []
    checkpoint = None
    for number, stop in enumerate((4, 8, 16, 24)):  # twice within the first epoch, then in the second
        folder = tmp_path / str(number)
        saves = runs.ModelCheckpoint(dirpath=folder, every_n_train_steps=stop, save_top_k=-1, filename="mid")
        options = {"enable_checkpointing": True, "callbacks": [saves], "ckpt_path": checkpoint}
        module, _ = runs.fit(make_loader(kind, data), tmp_path, stop, **options)
        seen += module.seen
        checkpoint = folder / "mid.ckpt"
    assert seen == whole.seen


@pytest.mark.parametrize("world", [3, 7, 60])
@pytest.mark.parametrize("kind", ["feed", "deterministic"])
def test_ranks_that_outnumber_shards_or_rows_make_as_many_steps(kind: str, world: int, data: str) -> None:
    """webdataset#194, #225, #188, datasets#8669: ranks without a shard starve, uneven ones hang in the last step."""
    ranks = [
        [batch["row"].tolist() for batch in make_loader(kind, data, rank=rank, world_size=world)]
        for rank in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1 and all(all(batches) for batches in ranks)
    together = [row for batches in ranks for batch in batches for row in batch]
    assert set(together) == set(range(ROWS))
    assert len(together) == max(ROWS, world)  # with more ranks than rows, each of the others repeats one


def test_workers_do_not_draw_alike_under_lightnings_seeding(data: str, tmp_path: Path) -> None:
    """lightning#20412, pytorch#5059: NumPy draws the same numbers in all workers, or in each epoch."""
    drawn: list[float] = []

    class Module(runs.Module):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            drawn.extend(batch["drawn"].tolist())
            return super().training_step(batch, batch_idx)

    pl.seed_everything(5, workers=True, verbose=False)
    try:
        trainer = runs.make_trainer(tmp_path, max_epochs=2)
        trainer.fit(Module(), fb.DataLoader(DrawnRows(), batch_size=4, num_workers=2))
        assert len(set(drawn)) == len(drawn) == 48
        module, _ = runs.fit(make_loader("feed", data, num_workers=2), tmp_path, 13)
        assert sorted(itertools.chain(*module.seen)) == list(range(ROWS))
    finally:
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            os.environ.pop(name, None)


@pytest.mark.parametrize("kind", ["torch", "feed"])
def test_no_batch_of_an_epoch_that_was_left_comes_in_the_next(kind: str, data: str, tmp_path: Path) -> None:
    """grain#1129, litData#563: batches that workers had made ahead were lost or came later."""
    options = {"num_workers": 2} | ({"persistent_workers": True} if kind == "torch" else {})
    whole, _ = runs.fit(make_loader(kind, data, **options), tmp_path, 26)
    left, _ = runs.fit(make_loader(kind, data, **options), tmp_path, 8, limit_train_batches=4)
    assert left.seen[:4] == whole.seen[:4]
    assert len(set(itertools.chain(*left.seen[4:]))) == 16
    if kind == "feed":  # the order is a function of the epoch
        assert left.seen[4:] == whole.seen[13:17]
