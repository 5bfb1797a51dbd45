"""What the loader takes over a forebay data set: its own options, and torch's where they have a meaning."""

from pathlib import Path

import pytest
import torch
from support import tables

import forebay as fb
from forebay.formats.errors import SpecError, UnknownNameError
from forebay.loaders.feed_options import FeedOptions, feed_spec, read_options
from forebay.loaders.ragged import Packed, Pad


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[fb.Dataset, fb.Dataset]:
    path: Path = tmp_path_factory.mktemp("options")
    parquet = fb.scan(str(tables.write_parquet(path / "raw", files=1, rows=50))).select("row", "n")
    parquet.write(str(path / "arrow"), format="arrow")
    return fb.scan(str(path / "arrow")), parquet


def test_arguments_of_torchs_that_are_so_here_anyway_are_taken(sets: tuple[fb.Dataset, fb.Dataset]) -> None:
    anyway = {
        "pin_memory": True,
        "persistent_workers": True,
        "prefetch_factor": 4,
        "in_order": True,
        "generator": torch.Generator(),
        "timeout": 3,
        "deterministic": True,
        "snapshot_every_n_steps": 1,
        "arena_bytes": 0,
        "sampler": None,
        "collate_fn": None,
    }
    assert read_options(anyway) == FeedOptions()
    assert len(list(fb.DataLoader(sets[0], 10, **anyway))) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sampler", "order comes from shuffle= and seed=.*DistributedSampler"),
        ("batch_sampler", "batching=ByLength"),
        ("collate_fn", "use .map_batches"),
        ("worker_init_fn", "num_workers are threads"),
        ("multiprocessing_context", "python_processes= are spawned"),
    ],
)
def test_those_that_have_another_name_here_say_which(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"{name} is not taken with a forebay Dataset: .*{message}"):
        read_options({name: object()})


def test_a_name_that_does_not_exist_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown argument 'overwrites' in DataLoader; did you mean overwrite"):
        read_options({"overwrites": True})


def test_padding_may_be_a_number() -> None:
    assert FeedOptions().ragged == Pad() and FeedOptions(pad=8).ragged == Pad(multiple=8)
    assert FeedOptions(pad=Packed("t")).ragged == Packed("t")


def test_true_is_global_where_any_row_is_at_hand(sets: tuple[fb.Dataset, fb.Dataset]) -> None:
    arrow, parquet = sets

    def shuffle(data: object, given: object) -> str:
        return feed_spec(data, FeedOptions(), batch_size=1, shuffle=given).shuffle  # type: ignore[arg-type]

    assert [shuffle(arrow, given) for given in (True, False, None, "window")] == ["global", "none", "none", "window"]
    assert shuffle(parquet, True) == shuffle(fb.mix({arrow: 1, parquet: 1}), True) == "window"
    assert shuffle(fb.mix({arrow: 1}), True) == "global"


def test_rank_and_world_size_come_together() -> None:
    with pytest.raises(SpecError, match="give both rank and world_size"):
        FeedOptions(world_size=2)
