"""Batches of the common kinds are counted right."""

import pytest
import torch

from forebay.loaders.hooks.counts import BatchCount, count_batch

IDS = torch.zeros(2, 8, dtype=torch.int64)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (torch.zeros(5, 3), BatchCount(5)),
        (torch.tensor(1.0), BatchCount(1)),
        ((torch.zeros(4, 3), torch.zeros(4)), BatchCount(4)),
        ([["a", "b"], {"x": torch.zeros(3)}], BatchCount(3)),
        ({"image": torch.zeros(6, 3)}, BatchCount(6)),
        ({"input_ids": IDS}, BatchCount(2, 16, 16)),
        ({"input_ids": IDS, "attention_mask": torch.tensor([[1] * 5 + [0] * 3, [1] * 8])}, BatchCount(2, 13, 16)),
        ({"input_ids": IDS, "num_tokens": 11}, BatchCount(2, 11, 16)),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 8, device="meta")}, BatchCount(2, 16, 16)),
        ({"input_ids": IDS, "cu_seq_lens_q": torch.tensor([0, 3, 9, 16])}, BatchCount(3, 16, 16)),
        ("text", BatchCount(0)),
        ([], BatchCount(0)),
    ],
)
def test_samples_real_tokens_and_places(batch, expected) -> None:
    assert count_batch(batch) == expected
