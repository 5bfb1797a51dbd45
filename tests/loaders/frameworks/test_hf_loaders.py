"""forebay's loaders in the HF Trainer: trained, resumed exactly without reading again, evaluated, on one rank and two."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from support.framework_data import ROWS, Rows, loss_of, make_net, write_rows
from support.launched import launched

import forebay as fb
from forebay.formats.errors import SpecError
from forebay.loaders.feed_loader import FeedLoader

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from support import hf_runs as runs  # imports both

# The Trainer warns of CPUs, and accelerate of settings that a later version will have.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]

SLOW = pytest.mark.slow
KINDS = ["torch", "feed", "own", pytest.param("workers", marks=SLOW)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("stop", [pytest.param(9, marks=SLOW), pytest.param(13, marks=SLOW), 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_trainer_goes_on_in_mid_epoch_and_in_later_epochs(kind: str, stop: int, data: str, tmp_path: Path) -> None:
    """13 steps are an epoch: the run is stopped in the first, at its end, in the second, and goes on into the third."""
    found = runs.stopped_and_resumed(0, 1, kind, data, str(tmp_path), stop, 29)
    assert found["rows"] == found["whole"] and found["weights"]
    assert found["draws"] or stop == 13  # at an epoch's end the Trainer itself draws once more
    for epoch in (found["whole"][:13], found["whole"][13:26]):
        assert sorted(itertools.chain(*epoch)) == list(range(ROWS))
    assert found["whole"][:13] != found["whole"][13:26]


@pytest.mark.parametrize("kind", ["own", "deterministic"])
def test_a_loader_with_a_state_of_its_own_goes_on_by_it(kind: str, data: str, tmp_path: Path) -> None:
    found = runs.stopped_and_resumed(0, 1, kind, data, str(tmp_path), 16, 29, ignore_data_skip=True)
    assert found["rows"] == found["whole"] and found["weights"]


@pytest.mark.parametrize("kind", ["torch", "feed"])
def test_an_accumulations_last_short_window_is_stepped_also_when_resumed(kind: str, data: str, tmp_path: Path) -> None:
    """13 batches make updates of 5, 5 and 3; stopped behind 4 updates, in the second epoch."""
    found = runs.stopped_and_resumed(0, 1, kind, data, str(tmp_path), 4, 7, gradient_accumulation_steps=5)
    assert found["rows"] == found["whole"] and found["weights"]
    assert len(found["whole"]) == 13 + 13 + 5


@pytest.mark.parametrize("kind", ["torch", "feed"])
def test_evaluation_sees_each_row_once(kind: str, data: str, tmp_path: Path) -> None:
    rows = Rows()
    whole = {"x": torch.from_numpy(rows.x), "y": torch.from_numpy(rows.y)}
    assert runs.evaluated(0, 1, kind, data, str(tmp_path)) == pytest.approx(float(loss_of(make_net(), whole)), abs=1e-6)


def test_the_trainers_loaders_are_forebays(data: str, tmp_path: Path) -> None:
    trainer = runs.make_trainer("torch", data, tmp_path, 1)
    for made in (trainer.get_train_dataloader(), trainer.get_eval_dataloader()):
        assert isinstance(made.base_dataloader, fb.DataLoader)
    over = runs.make_trainer("feed", data, tmp_path, 1)
    train = over.get_train_dataloader()
    assert isinstance(train, FeedLoader) and over.num_examples(train) == ROWS
    assert isinstance(over.get_eval_dataloader().base_dataloader, fb.DataLoader)


def test_columns_that_the_model_does_not_take_are_left_out_as_the_trainer_does(data: str, tmp_path: Path) -> None:
    trainer = runs.make_trainer("feed", data, tmp_path, 1)
    trainer._signature_columns = ["x", "y", "label"]
    assert set(next(iter(trainer.get_train_dataloader()))) == {"x", "y"}
    trainer._signature_columns = ["input_ids"]
    with pytest.raises(SpecError, match=r"none of the data set's columns \(row, x, y\) is an argument .*\(input_ids\)"):
        trainer.get_train_dataloader()
    kept = runs.make_trainer("feed", data, tmp_path, 1, remove_unused_columns=False)
    assert set(next(iter(kept.get_train_dataloader()))) == {"row", "x", "y"}


def test_what_a_forebay_data_set_does_otherwise_is_refused_by_name(data: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"train_sampling_strategy is 'group_by_length'; .*ByLength"):
        runs.make_trainer("feed", data, tmp_path, 1, train_sampling_strategy="group_by_length").get_train_dataloader()
    split: Any = {"split_batches": True}
    with pytest.raises(SpecError, match="the accelerator has split_batches=True"):
        runs.make_trainer("feed", data, tmp_path, 1, accelerator_config=split).get_train_dataloader()


@pytest.mark.parametrize("kind", ["torch", "feed"])
@pytest.mark.slow
def test_two_ranks_share_the_rows_and_go_on(kind: str, data: str, tmp_path: Path) -> None:
    """7 steps are an epoch on two ranks; stopped in the second."""
    ranks = launched(2, runs.stopped_and_resumed, kind, data, str(tmp_path), 9, 17)
    for one in ranks:
        assert one["rows"] == one["whole"] and one["weights"]
    for epoch in (slice(0, 7), slice(7, 14)):
        together = [row for one in ranks for batch in one["whole"][epoch] for row in batch]
        assert sorted(set(together)) == list(range(ROWS))
        assert kind == "torch" or len(together) == ROWS  # accelerate fills up the last step


@pytest.mark.slow
def test_two_ranks_evaluate_each_row_once(data: str, tmp_path: Path) -> None:
    rows = Rows()
    whole = {"x": torch.from_numpy(rows.x), "y": torch.from_numpy(rows.y)}
    expected = pytest.approx(float(loss_of(make_net(), whole)), abs=1e-6)
    assert launched(2, runs.evaluated, "feed", data, str(tmp_path)) == [expected, expected]
