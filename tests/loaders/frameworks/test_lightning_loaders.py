"""forebay's loaders in Lightning's Trainer and Fabric: trained, resumed exactly, rebuilt, on one rank and two."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from support.framework_data import BATCH, ROWS, Rows, make_loader, write_rows
from support.launched import launched

import forebay as fb
from forebay import frameworks
from forebay.formats.errors import SpecError
from forebay.loaders.feed_loader import FeedLoader

pytest.importorskip("lightning.pytorch")
from lightning.pytorch.callbacks import ModelCheckpoint
from support import lightning_runs as runs  # imports Lightning

# Lightning warns of few workers, of iterable data sets with a length, and of folders that exist.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]

KINDS = ["torch", "sampler", "feed", "deterministic", pytest.param("workers", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("stop", [pytest.param(9, marks=pytest.mark.slow), 13, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_trainer_goes_on_in_mid_epoch_and_in_later_epochs(kind: str, stop: int, data: str, tmp_path: Path) -> None:
    """13 steps are an epoch: the run is stopped in the first, at its end, in the second, and goes on into the third."""
    whole, trainer = runs.fit(make_loader(kind, data), tmp_path, 29)
    assert isinstance(trainer.train_dataloader, fb.DataLoader)
    first, second = runs.stopped_and_resumed(lambda: make_loader(kind, data), tmp_path, (stop, 29))
    seen = first.seen + second.seen
    for epoch in (seen[:13], seen[13:26]):
        assert sorted(itertools.chain(*epoch)) == list(range(ROWS))
    assert seen[:13] != seen[13:26]
    # At an epoch's end Lightning goes on otherwise than it would have: it asks torch's sampler once more, which draws then,
    # or counts an epoch twice.
    if stop != 13 or kind in ("feed", "deterministic"):
        assert seen == whole.seen and all(map(torch.equal, runs.weights(whole), runs.weights(second)))


@pytest.mark.parametrize("by", ["ModelCheckpoint", "save_checkpoint"])
def test_the_trainer_goes_on_from_an_epochs_end_however_it_was_saved(by: str, data: str, tmp_path: Path) -> None:
    whole, _ = runs.fit(make_loader("feed", data), tmp_path, 29)
    saves = [ModelCheckpoint(dirpath=tmp_path, save_top_k=-1, filename="{step}")] if by == "ModelCheckpoint" else []
    first, trainer = runs.fit(make_loader("feed", data), tmp_path, 13, enable_checkpointing=True, callbacks=saves)
    if not saves:
        trainer.save_checkpoint(tmp_path / "step=13.ckpt")
    second, _ = runs.fit(make_loader("feed", data), tmp_path, 29, ckpt_path=tmp_path / "step=13.ckpt")
    assert first.seen + second.seen == whole.seen


@pytest.mark.parametrize("kind", ["torch", "feed", "deterministic"])
def test_each_validation_sees_the_same_first_batches(kind: str, data: str, tmp_path: Path) -> None:
    module = runs.Module()
    trainer = runs.make_trainer(
        tmp_path, max_epochs=2, limit_train_batches=2, limit_val_batches=3, num_sanity_val_steps=2
    )
    trainer.fit(module, make_loader(kind, data), make_loader(kind, data, shuffle=False))
    rows = [list(range(BATCH * step, BATCH * (step + 1))) for step in range(3)]
    assert module.validated == [*rows[:2], *rows, *rows]


@pytest.mark.parametrize("kind", ["torch", "feed"])
def test_predicting_and_overfitting_rebuild_the_loader(kind: str, data: str, tmp_path: Path) -> None:
    trainer = runs.make_trainer(tmp_path, max_epochs=2, overfit_batches=2)
    found = trainer.predict(runs.Module(), make_loader(kind, data, shuffle=False))
    assert list(itertools.chain(*found)) == list(range(ROWS))
    module = runs.Module()
    trainer.fit(
        module, make_loader(kind, data, shuffle=kind == "torch")
    )  # turned off for it, not for iterable data sets
    assert isinstance(trainer.train_dataloader, FeedLoader if kind == "feed" else fb.DataLoader)
    rows = [list(range(BATCH * step, BATCH * (step + 1))) for step in range(2)]
    assert module.seen == rows * 2  # overfitting means: the first batches in order, again and again


def test_a_loader_made_in_a_modules_hook_is_rebuilt_with_all_its_arguments(data: str, tmp_path: Path) -> None:
    class Hooked(runs.Module):
        def train_dataloader(self) -> Any:
            return fb.DataLoader(Rows(), 2, shuffle=True, arena_bytes=0, snapshot_every_n_steps=3)

        def val_dataloader(self) -> Any:
            return fb.DataLoader(dataset=fb.scan(data), batch_size=5, columns=["row", "y"], shuffle=True, seed=4)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.validated.append(batch[0].tolist())

    module = Hooked()
    trainer = runs.make_trainer(tmp_path, max_epochs=1, overfit_batches=3, num_sanity_val_steps=0)
    trainer.fit(module)
    rebuilt = trainer.train_dataloader
    assert (rebuilt.batch_size, rebuilt.arena_bytes, rebuilt.snapshot_every_n_steps) == (2, 0, 3)
    assert module.seen == [[0, 1], [2, 3], [4, 5]]
    assert module.validated == [list(range(5 * step, 5 * (step + 1))) for step in range(3)]


def test_an_endless_mixture_is_resumed_exactly_where_the_steps_of_an_epoch_are_given(data: str, tmp_path: Path) -> None:
    """Lightning reads one batch ahead of loaders without a length, and would lose it; `limit_train_batches` is a length."""

    def mixed() -> fb.DataLoader:
        mixture = fb.mix({fb.scan(data): 0.5, fb.scan(data).filter("y > 0"): 0.5}, stop="never")
        return fb.DataLoader(mixture, batch_size=BATCH, shuffle=True)

    expected = [batch["row"].tolist() for batch in itertools.islice(mixed(), 30)]
    first, second = runs.stopped_and_resumed(mixed, tmp_path, (9, 30), limit_train_batches=6)
    assert first.seen + second.seen == expected


@pytest.mark.parametrize("kind", ["torch", "feed"])
def test_the_stock_loader_over_a_forebay_data_set_is_trained_and_given_a_sampler(
    kind: str, data: str, tmp_path: Path
) -> None:
    dataset: Any = fb.scan(data) if kind == "feed" else Rows()
    stock = torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=False)
    module, _ = runs.fit(stock, tmp_path, 13)
    assert list(itertools.chain(*module.seen)) == list(range(ROWS))


@pytest.mark.parametrize("kind", ["torch", "feed", "deterministic"])
def test_fabric_trains_and_goes_on(kind: str, data: str, tmp_path: Path) -> None:
    found = runs.fabric_runs(0, 1, kind, data, str(tmp_path))
    assert found["first"] + found["second"] == found["whole"] and found["equal weights"]


def test_resume_fabric_takes_what_fabric_gave(data: str) -> None:
    with pytest.raises(SpecError, match=r"resume_fabric got a FeedLoader over NoneType; expected what fabric.setup"):
        frameworks.resume_fabric(make_loader("feed", data))


def test_a_loader_is_copied_to_another_process_where_it_was(data: str) -> None:
    loader = make_loader("feed", data, num_workers=1)
    batches = iter(loader)
    begun = [next(batches)["row"].tolist() for _ in range(3)]
    again = copy.deepcopy(loader)
    again.load_state_dict(loader.state_dict())
    whole = [batch["row"].tolist() for batch in make_loader("feed", data)]
    assert begun + [batch["row"].tolist() for batch in again] == whole


SAMPLERS = {"torch": "DistributedSampler", "feed": "_InfiniteConstantSampler", "deterministic": "PlannedIndices"}
CLASSES = {"torch": "DataLoader", "feed": "FeedLoader", "deterministic": "DeterministicLoader"}


@pytest.mark.parametrize("kind", ["torch", "feed", "deterministic"])
@pytest.mark.slow
def test_two_ranks_share_the_rows_and_go_on(kind: str, data: str, tmp_path: Path) -> None:
    ranks = launched(2, runs.ddp_fit, kind, data, str(tmp_path))
    for one in ranks:
        assert one["world"] == 2 and one["first"] + one["second"] == one["whole"] and one["equal weights"]
        assert (one["class"], one["sampler"]) == (CLASSES[kind], SAMPLERS[kind])
    stock = [row for one in ranks for batch in one["stock over forebay"] for row in batch]
    assert sorted(stock) == list(range(ROWS))  # Lightning gave it a sampler
    for epoch in (slice(0, 7), slice(7, 14)):
        together = [row for one in ranks for batch in one["whole"][epoch] for row in batch]
        assert sorted(together) == list(range(ROWS))


@pytest.mark.parametrize("kind", ["torch", "feed"])
@pytest.mark.slow
def test_two_ranks_of_fabric_share_the_rows_and_go_on(kind: str, data: str, tmp_path: Path) -> None:
    ranks = launched(2, runs.fabric_runs, kind, data, str(tmp_path))
    for one in ranks:
        assert one["first"] + one["second"] == one["whole"] and one["equal weights"]
    for epoch in (slice(0, 7), slice(7, 14)):
        together = [row for one in ranks for batch in one["whole"][epoch] for row in batch]
        assert sorted(together) == list(range(ROWS))
