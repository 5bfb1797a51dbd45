"""A missing library or device is named at once, with what to do."""

import pytest
import torch

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.extras import load_extra, need_cuda


def test_a_missing_library_says_what_to_install() -> None:
    with pytest.raises(SpecError, match=r"Trees needs no_such_library.*pip install 'forebay\[hooks\]'"):
        load_extra("no_such_library.part", extra="hooks", used_for="Trees")


def test_a_present_library_is_returned() -> None:
    assert load_extra("json.decoder", extra="hooks", used_for="x").JSONDecoder


@pytest.mark.skipif(torch.cuda.is_available(), reason="the message is for machines without CUDA")
def test_without_a_device_the_error_names_the_one_that_is_needed() -> None:
    with pytest.raises(SpecError, match=r"Float8\(\) needs a CUDA device of compute capability 8.9 or newer"):
        need_cuda("Float8()", min_sm=89)


def test_an_older_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(SpecError, match=r"this machine has Tesla T4 of 7.5"):
        need_cuda("Float8()", min_sm=89)
    need_cuda("Widen()", min_sm=70)
