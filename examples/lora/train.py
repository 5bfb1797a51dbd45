"""Adapt a language model to other text by LoRA, on a base that is frozen in 4 bits.

    python examples/lora/train.py                  # about a minute on a CPU
    python examples/lora/train.py --quick          # seconds

There is nothing to download: the base, a Llama of a few hundred thousand parameters, is trained here first, on Python's
language reference. Then it is frozen in NF4, and adapters learn the legal English of the licences that lie beside the
installed packages. Samples are packed into rows without padding, and the packing is checked before it is trusted.
"""

import argparse
import math
import pydoc_data.topics
from importlib import metadata
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

from forebay import hooks as H

ROW = 512
PIECE = 128


def read_reference() -> bytes:
    """Python's language reference."""
    topics = pydoc_data.topics.topics
    return "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")


def read_licences() -> bytes:
    """The licence texts of all installed packages, each text once, in a fixed order."""
    texts = set()
    for package in metadata.distributions():
        for path in package.files or ():
            if "licen" in path.name.lower() and path.suffix.lower() in ("", ".txt", ".md", ".rst"):
                try:
                    texts.add(path.locate().read_text(encoding="utf-8"))  # type: ignore[attr-defined]
                except (OSError, UnicodeDecodeError):
                    continue  # a file that the package lists and does not have, or that is no text
    return "\n".join(sorted(texts)).encode("ascii", "ignore")


def pack(text: bytes, rows: int) -> list[dict[str, torch.Tensor]]:
    """Rows of ROW bytes from all over the text, each of ROW / PIECE pieces that do not see each other."""
    pieces = len(text) // PIECE
    per_row = ROW // PIECE
    chosen = torch.randperm(pieces, generator=torch.Generator().manual_seed(0))[: rows * per_row]
    whole = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    packed = []
    for row in chosen.split(per_row):
        ids = torch.cat([whole[p * PIECE : (p + 1) * PIECE] for p in row.tolist()])
        labels = ids.clone()
        labels[::PIECE] = -100  # nothing predicts the first byte of a piece
        packed.append({"input_ids": ids, "labels": labels, "position_ids": torch.arange(PIECE).repeat(per_row)})
    return packed


def make_base() -> LlamaForCausalLM:
    """A Llama over bytes. `use_cache=False` or else packed pieces see each other in silence: see check_packing."""
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> H.LossSum:
    """Cross entropy summed over the bytes that have a prediction."""
    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
    labels = batch["labels"][:, 1:].flatten()
    total = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels, ignore_index=-100, reduction="sum")
    return H.LossSum(total, batch["input_ids"].numel() * (PIECE - 1) // PIECE)


def train(model: nn.Module, rows: list[dict[str, torch.Tensor]], *, lr: float) -> None:
    """One pass over the rows, one row a batch."""
    device = next(model.parameters()).device
    loader: Any = H.DevicePrefetch(DataLoader(rows, shuffle=True), device)  # type: ignore[arg-type]  # a list is a dataset
    optimizer = H.adamw([p for p in model.parameters() if p.requires_grad], lr=lr)
    step = H.TrainStep(model, optimizer, spec=H.StepSpec(accumulate=2, clip_norm=1.0))
    with H.attach(loader, optimizer, hooks=[H.Meter(sinks=[H.ConsoleSink()], every=10_000)]):
        for batch in step.over(loader):
            step(batch, loss)


@torch.no_grad()
def bits_per_byte(model: nn.Module, rows: list[dict[str, torch.Tensor]]) -> float:
    """Mean over the rows."""
    model.eval()
    device = next(model.parameters()).device
    sums = [loss(model, batch) for batch in H.DevicePrefetch(DataLoader(rows), device)]  # type: ignore[arg-type]
    model.train()
    return float(sum(part.total for part in sums)) / sum(part.tokens for part in sums) / math.log(2)


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Train base and adapters; returns bits per byte of held-out licences, before and after the adapters learned."""
    parser = argparse.ArgumentParser(description="LoRA on a base in 4 bits.")
    parser.add_argument("--quick", action="store_true", help="a few updates only")
    quick = parser.parse_args(arguments).quick
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    reference, licences = pack(read_reference(), 60 if quick else 700), pack(read_licences(), 60 if quick else 400)
    test, licences = licences[:20], licences[20:]

    base = make_base().to(device)
    packed = {name: value[None].to(device) for name, value in reference[0].items()}
    print(f"packed pieces do not see each other: largest difference {H.check_packing(base, packed):.1e}")
    train(base, reference, lr=3e-3)
    on_floats = bits_per_byte(base, test)

    recipe = H.Lora(base="nf4", rank=8, targets=("q_proj", "v_proj", "up_proj", "down_proj"))
    model = H.prepare_model(base, recipe)
    before = bits_per_byte(model, test)
    train(model, licences, lr=1e-2)
    after = bits_per_byte(H.finalize_model(model, recipe), test)

    adapters = sum(tensor.numel() for tensor in H.adapter_state(model).values())
    print(f"held-out licences, bits per byte: {on_floats:.2f} float base, {before:.2f} in NF4, {after:.2f} adapted")
    print(f"{adapters:,} adapter parameters to keep")
    return before, after


if __name__ == "__main__":
    main()
