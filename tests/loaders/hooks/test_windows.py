"""Each batch knows its window's tokens, and with them Lightning's gradient is that of the whole window."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.rank_steps import make_model, microbatches, window_counts
from support.ranks import on_ranks
from support.resumable_loader import ResumableLoader

from forebay.formats.errors import SchemaError, SpecError
from forebay.loaders.hooks.windows import WindowCounts


def test_labels_are_counted_and_the_last_window_may_be_short() -> None:
    loader = [{"labels": torch.tensor([[1, 2, -100]])}, {"labels": torch.tensor([[1, -100]])}, {"num_tokens": 7}]
    found = [batch["num_items_in_window"] for batch in WindowCounts(loader, 2)]
    assert found == [3, 3, 7] and len(WindowCounts(loader, 2)) == 3


def test_ranks_sum_their_windows() -> None:
    assert on_ranks(2, window_counts) == [[8, 8, 9], [8, 8, 9]]


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_lightning_under_accumulation_has_the_gradient_of_all_tokens(tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = make_model()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            total = F.mse_loss(self.net(batch["x"]), batch["y"], reduction="sum")
            return total * 4 / batch["num_items_in_window"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    parts = microbatches(4)
    loader = WindowCounts([{"x": x, "y": y, "num_tokens": len(x)} for x, y in parts], 4)
    module = Module()
    options: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(default_root_dir=tmp_path, max_epochs=1, accumulate_grad_batches=4, **options)
    trainer.fit(module, loader)

    model = make_model()
    x, y = (torch.cat(part) for part in zip(*parts, strict=True))
    (F.mse_loss(model(x), y, reduction="sum") / len(x)).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    torch.testing.assert_close(list(module.net.parameters()), list(model.parameters()), rtol=1e-5, atol=1e-6)


def test_the_state_is_that_of_the_batch_given_out() -> None:
    def counts(loader: ResumableLoader) -> WindowCounts:
        return WindowCounts(loader, 3, count=lambda batch: len(batch["y"]))

    inner = ResumableLoader(mapping=True)
    windows = counts(inner)
    iterator = iter(windows)
    next(iterator)
    assert inner.state_dict()["position"] == 12 and windows.state_dict()["position"] == 4
    resumed = counts(ResumableLoader(mapping=True))
    resumed.load_state_dict(windows.state_dict())
    assert torch.equal(next(iter(resumed))["x"], next(iterator)["x"])


def test_what_cannot_be_counted_or_saved_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"neither 'num_tokens' nor 'labels' to count; it has \['x'\]"):
        list(WindowCounts([{"x": 1}], 1))
    with pytest.raises(SpecError, match="accumulate=0"):
        WindowCounts([], 0)
    with pytest.raises(SpecError, match=r"list has no state_dict\(\) and load_state_dict\(\)"):
        WindowCounts([], 1).state_dict()
