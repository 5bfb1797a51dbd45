"""Train a small byte-level language model in bf16, with gradients accumulated over batches of uneven length.

    python examples/text_bf16/train.py             # about a minute on a CPU
    python examples/text_bf16/train.py --quick     # seconds

Data: Python's own language reference, the help topics that every Python carries (`pydoc_data.topics`). Paragraphs are
the samples, so the number of real tokens differs from batch to batch, and the mean of the batches' means would weigh
tokens unevenly: the loss is summed and divided by the true count of each window.
"""

import argparse
import math
import pydoc_data.topics
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from forebay import hooks as H

PAD = 0
IGNORED = -100
CONTEXT = 192


class Decoder(nn.Module):
    """A causal transformer over bytes. Shapes: N rows, L places, D features."""

    def __init__(self, *, features: int = 96, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(256, features)
        self.places = nn.Embedding(CONTEXT, features)
        layer = partial(
            nn.TransformerEncoderLayer, features, heads, 4 * features, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.ModuleList(layer() for _ in range(layers))
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, 256)

    def forward(self, ids_NL: torch.Tensor) -> torch.Tensor:
        length = ids_NL.shape[1]
        hidden = self.tokens(ids_NL) + self.places(torch.arange(length, device=ids_NL.device))
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=ids_NL.device)
        for block in self.blocks:
            hidden = block(hidden, src_mask=mask, is_causal=True)
        logits: torch.Tensor = self.head(self.norm(hidden))
        return logits


def read_paragraphs() -> list[bytes]:
    """The paragraphs of the language reference, in a fixed order, each at most CONTEXT + 1 bytes."""
    text = "\n\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    paragraphs = (part.strip().encode("ascii", "ignore") for part in text.split("\n\n"))
    return [part[: CONTEXT + 1] for part in paragraphs if len(part) > 20]


def collate(paragraphs: list[bytes]) -> dict[str, Any]:
    """Rows padded to the longest; the true number of targets is counted here, on the CPU."""
    length = max(map(len, paragraphs)) - 1
    ids = torch.full((len(paragraphs), length), PAD)
    labels = torch.full((len(paragraphs), length), IGNORED)
    for row, paragraph in enumerate(paragraphs):
        values = torch.tensor(list(paragraph))
        ids[row, : len(values) - 1] = values[:-1]
        labels[row, : len(values) - 1] = values[1:]
    batch = {"input_ids": ids, "labels": labels, "num_tokens": sum(map(len, paragraphs)) - len(paragraphs)}
    return H.PadTo(32, fill={"input_ids": PAD, "labels": IGNORED})(batch)  # few shapes, so few compilations


def summed_loss(model: nn.Module, batch: dict[str, Any]) -> H.LossSum:
    """Cross entropy summed over the real tokens, with their count."""
    logits_NLV = model(batch["input_ids"])
    total = F.cross_entropy(
        logits_NLV.flatten(0, 1).float(), batch["labels"].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return H.LossSum(total, batch["num_tokens"])


@torch.no_grad()
def bits_per_byte(model: nn.Module, loader: Any, *, device: torch.device) -> float:
    """Mean over all held-out bytes."""
    model.eval()
    sums = [summed_loss(model, batch) for batch in H.DevicePrefetch(loader, device)]
    model.train()
    return float(sum(part.total for part in sums)) / sum(part.tokens for part in sums) / math.log(2)


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Train; returns bits per byte on held-out paragraphs, before and after."""
    parser = argparse.ArgumentParser(description="A byte-level language model in bf16.")
    parser.add_argument("--quick", action="store_true", help="a few updates only")
    quick = parser.parse_args(arguments).quick
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    paragraphs = read_paragraphs()
    held_out, training = paragraphs[::20], [part for row, part in enumerate(paragraphs) if row % 20]
    if quick:
        held_out, training = held_out[:32], training[:320]
    pinned = device.type == "cuda"
    loader: Any = DataLoader(training, batch_size=16, shuffle=True, collate_fn=collate, pin_memory=pinned)  # type: ignore[arg-type]
    test: Any = DataLoader(held_out, batch_size=16, collate_fn=collate)  # type: ignore[arg-type]  # a list is a dataset

    model = Decoder().to(device)
    before = bits_per_byte(model, test, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    spec = H.StepSpec(precision=H.Precision("bf16"), accumulate=2, clip_norm=1.0)
    step = H.TrainStep(model, optimizer, spec=spec)
    ema = H.Ema(0.95)
    batches = H.DevicePrefetch(loader, device)
    meter = H.Meter(sinks=[H.ConsoleSink()], every=1000)
    with H.attach(batches, optimizer, hooks=[meter, ema, H.GcControl()], model=model) as run:
        for _ in range(1 if quick else 3):
            for batch in step.over(batches):
                step(batch, summed_loss)
    print(f"{run.ctx.step} updates, {run.ctx.tokens:,} real tokens in {run.ctx.padded_tokens:,} places")
    with ema.swapped():
        after = bits_per_byte(model, test, device=device)
    print(f"held-out bits per byte: {before:.2f} before, {after:.2f} after (averaged weights)")
    return before, after


if __name__ == "__main__":
    main()
