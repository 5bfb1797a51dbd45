"""A batch that is not as agreed is refused with what it costs."""

import pytest
import torch

from forebay.formats.errors import SchemaError
from forebay.loaders.hooks.attachment import attach
from forebay.loaders.hooks.batch_contract import BatchContract, Field

CONTRACT = {"image": Field(torch.uint8, (3, None, 8)), "label": Field(torch.int64, ()), "mask": Field(torch.bool)}
GOOD = {
    "image": torch.zeros(2, 3, 5, 8, dtype=torch.uint8),
    "label": torch.zeros(2, dtype=torch.int64),
    "mask": torch.zeros(2, 9, dtype=torch.bool),
}


class Loader:
    def __init__(self, *batches: object) -> None:
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_a_batch_as_agreed_passes_and_only_the_first_is_checked() -> None:
    loader = Loader(GOOD, {"image": "not looked at"})
    with attach(loader, hooks=[BatchContract(CONTRACT)]) as run:
        list(loader)
    assert run.ctx.microbatch == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": GOOD["image"].float()}, r"'image' of the batch is torch.float32, agreed was torch.uint8: 4 times"),
        ({"label": GOOD["label"].int()}, r"'label' of the batch is torch.int32, agreed was torch.int64. Look"),
        ({"image": GOOD["image"][:, :1]}, r"shape \(N, \*\(1, 5, 8\)\), agreed was \(N, \*\(3, None, 8\)\)"),
        ({"label": GOOD["image"].long()}, r"'label' of the batch has shape"),
        ({"mask": [True]}, r"'mask' of the batch is a list, expected a tensor of torch.bool"),
    ],
)
def test_what_differs_is_named(change, message) -> None:
    loader = Loader({**GOOD, **change})
    with pytest.raises(SchemaError, match=message), attach(loader, hooks=[BatchContract(CONTRACT)]):
        list(loader)


def test_what_is_missing_is_named_and_tuples_go_by_position() -> None:
    with pytest.raises(SchemaError, match=r"the batch has no 'mask'; it is \['image', 'label'\]"):
        BatchContract(CONTRACT).check({"image": GOOD["image"], "label": GOOD["label"]})
    contract = BatchContract({0: Field(torch.uint8), 1: Field(torch.int64)})
    contract.check((GOOD["image"], GOOD["label"]))
    with pytest.raises(SchemaError, match="the batch has no 1; it is tuple"):
        contract.check((GOOD["image"],))
