"""Contaminated packing is found in a real transformers model, and right packing passes."""

from typing import Any

import pytest
import torch

from forebay.formats.errors import DataError, SchemaError
from forebay.loaders.hooks.packing_check import check_packing


def packed() -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 50, (1, 12), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "position_ids": torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]])}


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_a_llama_model_passes_without_a_cache_and_fails_with_one() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.5,
        use_cache=False,
    )
    model = transformers.LlamaForCausalLM(config).train()
    assert check_packing(model, {**packed(), "labels": packed()["input_ids"]}) < 1e-5
    assert model.training
    model.config.use_cache = True
    with pytest.raises(DataError, match="packed sequences see each other.*use_cache = False"):
        check_packing(model, packed())


def test_what_is_no_packed_batch_is_refused() -> None:
    model = torch.nn.Identity()
    cases: list[tuple[dict[str, Any], str]] = [
        ({**packed(), "attention_mask": torch.ones(1, 12)}, "must have no 'attention_mask'"),
        ({"input_ids": torch.ones(1, 3)}, r"this one has \['input_ids'\]"),
        ({"input_ids": torch.ones(2, 3), "position_ids": torch.ones(2, 3)}, r"found \(2, 3\) and \(2, 3\)"),
    ]
    for batch, message in cases:
        with pytest.raises(SchemaError, match=message):
            check_packing(model, batch)
