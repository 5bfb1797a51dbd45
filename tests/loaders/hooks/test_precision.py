"""One word for the precision, in four dialects."""

import warnings

import pytest
import torch

from forebay.formats.errors import SpecError, UnknownNameError
from forebay.loaders.hooks.precision import Precision


@pytest.mark.parametrize(
    ("name", "lightning", "hf", "accelerate", "scales"),
    [
        ("fp32", "32-true", {"bf16": False, "fp16": False}, "no", False),
        ("bf16", "bf16-mixed", {"bf16": True, "fp16": False}, "bf16", False),
        ("fp16", "16-mixed", {"bf16": False, "fp16": True}, "fp16", True),
    ],
)
def test_every_framework_gets_its_own_word(name, lightning, hf, accelerate, scales) -> None:
    precision = Precision(name)
    assert (precision.to_lightning(), precision.to_hf(), precision.to_accelerate()) == (lightning, hf, accelerate)
    assert precision.scaler("cpu").is_enabled() == scales
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with precision.autocast("cpu"):
            out = torch.ones(2, 2) @ torch.ones(2, 2)
    assert out.dtype == (precision.dtype or torch.float32)


def test_float8_is_no_autocast_type() -> None:
    with pytest.raises(SpecError, match=r"no autocast type; use prepare_model\(model, Float8\(\)\)"):
        Precision("fp8")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean bf16"):
        Precision("b16")  # type: ignore[arg-type]
