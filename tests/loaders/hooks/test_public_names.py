"""`from forebay.loaders import hooks` gives every name, and loads nothing before it is used."""

import subprocess
import sys

import pytest

from forebay.loaders import hooks


def test_every_public_name_is_there_and_is_no_module() -> None:
    for name in hooks.__all__:
        assert callable(getattr(hooks, name)) or name == "Hook", name
    assert sorted(hooks.__all__) == list(hooks.__all__) == dir(hooks)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Metre'; it has .*Meter"):
        hooks.Metre  # noqa: B018


def test_the_package_and_the_plain_hooks_load_no_heavy_library() -> None:
    program = """
import sys
from forebay.loaders import hooks
assert "torch" not in sys.modules, "torch"
hooks.attach, hooks.Meter, hooks.TrainStep, hooks.Qat, hooks.Lora, hooks.lightning_callback, hooks.hf_callback
heavy = {"torchao", "peft", "bitsandbytes", "lightning", "transformers", "accelerate", "tensorboard", "numba"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
