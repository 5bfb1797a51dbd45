"""Ops on the device compute what their plain definitions say, and draw by the sample."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.formats.errors import SchemaError, SpecError
from forebay.loaders.hooks.device_ops import MixUp, RandomCrop, RandomFlip, Widen, beta_share
from forebay.loaders.hooks.device_transform import DeviceTransform

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none"),
        ],
    ),
]


def batch(rows: int = 6, device: str = "cpu") -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {
        "image": torch.randint(0, 256, (rows, 3, 8, 10), dtype=torch.uint8, generator=generator).to(device),
        "label": (torch.arange(rows) % 4).to(device),
        "id": torch.arange(100, 100 + rows).to(device),
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_widening_rounds_once(device: str, dtype: torch.dtype) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = DeviceTransform(Widen(mean, std, dtype=dtype))(batch(device=device))["image"]
    pixels = batch()["image"].numpy().astype(np.float64)
    exact = (pixels / 255 - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    assert found.dtype == dtype
    # Half a unit in the last place of bf16 (8 bits of significand) for values up to 4 is 2^-7.
    bound = 2.0**-7 if dtype == torch.bfloat16 else 2e-6
    assert np.abs(found.cpu().double().numpy() - exact).max() <= bound


def test_tuples_and_lists_go_by_position_and_stay_what_they_are() -> None:
    image, label = batch()["image"], batch()["label"]
    for kind in (tuple, list):
        found = DeviceTransform(Widen(name=0))(kind([image, label]))
        assert type(found) is kind and found[0].dtype == torch.float32 and found[1] is label


@pytest.mark.parametrize("device", DEVICES)
def test_flips_and_crops_are_those_of_a_plain_loop(device: str) -> None:
    transform = DeviceTransform(RandomFlip(0.5), RandomCrop((6, 7), padding=2), seed=5, ids="id")
    whole = transform(batch(40, device))["image"]
    images = torch.nn.functional.pad(batch(40)["image"], (2, 2, 2, 2))
    flipped = shifted = 0
    for source, found in zip(images, whole.cpu(), strict=True):
        places = [
            (mirror, top, left)
            for mirror in (False, True)
            for top in range(source.shape[1] - 5)
            for left in range(source.shape[2] - 6)
            if torch.equal((source.flip(-1) if mirror else source)[:, top : top + 6, left : left + 7], found)
        ]
        assert len(places) == 1
        flipped += places[0][0]
        shifted += places[0][1:] != (3, 3)
    assert 8 < flipped < 32 and shifted > 30


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 50), size=st.integers(1, 6))
def test_a_sample_is_augmented_alike_in_any_batch(seed: int, size: int) -> None:
    make = lambda: DeviceTransform(RandomFlip(), RandomCrop((4, 4)), Widen(), seed=seed, ids="id")  # noqa: E731
    whole = make()(batch())["image"]
    transform = make()
    parts = [transform({k: v[at : at + size] for k, v in batch().items()})["image"] for at in range(0, 6, size)]
    assert torch.equal(torch.cat(parts), whole)


def test_epochs_and_seeds_have_other_draws_and_without_ids_samples_are_counted() -> None:
    def found(seed: int = 0, epoch: int = 0, ids: str | None = "id") -> torch.Tensor:
        transform = DeviceTransform(RandomCrop((3, 3)), seed=seed, ids=ids)
        transform.set_epoch(epoch)
        return transform(batch(20))["image"]

    assert torch.equal(found(), found())
    assert not torch.equal(found(), found(seed=1)) and not torch.equal(found(), found(epoch=1))
    counting = DeviceTransform(RandomCrop((3, 3)))
    first, second = counting(batch(20))["image"], counting(batch(20))["image"]
    assert not torch.equal(first, second)
    counting.set_epoch(0)
    assert torch.equal(counting(batch(20))["image"], first)


def test_mixup_blends_images_and_labels_alike() -> None:
    found = DeviceTransform(Widen(), MixUp(classes=4, alpha=1.0), seed=1, ids="id")(batch())
    image, label = DeviceTransform(Widen())(batch())["image"], torch.eye(4)[batch()["label"]]
    for row in range(6):
        share = float(found["label"][row, batch()["label"][row]])
        assert 0 < share < 1
        torch.testing.assert_close(found["label"][row], share * label[row] + (1 - share) * label[row - 1])
        expected = share * image[row] + (1 - share) * image[row - 1]
        torch.testing.assert_close(found["image"][row], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["label"].sum(1), torch.ones(6))


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 8.0])
def test_shares_are_distributed_as_beta(alpha: float) -> None:
    shares = beta_share(torch.linspace(0, 1, 20_001)[:-1] + 1 / 40_002, alpha).double()
    variance = 1 / (4 * (2 * alpha + 1))
    fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    assert float(shares.mean()) == pytest.approx(0.5, abs=1e-4)
    assert float((shares - 0.5).square().mean()) == pytest.approx(variance, rel=2e-3)
    assert float((shares - 0.5).pow(4).mean()) == pytest.approx(fourth, rel=4e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (DeviceTransform, "DeviceTransform has no ops"),
        (lambda: Widen(std=(0.0,)), "std above 0"),
        (lambda: Widen(mean=(1.0, 2.0)), "as many of each"),
        (lambda: RandomFlip(1.5), "share=1.5"),
        (lambda: RandomCrop((0, 3)), r"size=\(0, 3\)"),
        (lambda: MixUp(classes=1), "classes=1"),
        (lambda: MixUp(classes=4, alpha=0.0), "alpha=0.0"),
    ],
)
def test_wrong_settings_are_refused(make, message) -> None:
    with pytest.raises(SpecError, match=message):
        make()


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Widen(name="picture"), r"Widen needs 'picture'; the batch has \['id', 'image', 'label'\]"),
        (Widen(name="label"), r"Widen needs 'label' as a tensor of shape \(N, C, H, W\), found \(6,\)"),
        (Widen((0.5, 0.5), (1.0, 1.0)), "Widen has 2 values, the image has 3 channels"),
        (RandomCrop((9, 9)), r"cuts \(9, 9\) out of \(8, 10\)"),
        (MixUp(classes=4), "as floats .put it after Widen.*found torch.uint8"),
    ],
)
def test_batches_that_do_not_fit_are_refused(op, message) -> None:
    with pytest.raises(SchemaError, match=message):
        DeviceTransform(op, ids="id")(batch())


def test_floats_are_not_widened_again_and_missing_ids_are_named() -> None:
    with pytest.raises(SchemaError, match="as uint8, found torch.float32: something widened it before"):
        DeviceTransform(Widen())({"image": torch.zeros(1, 3, 2, 2)})
    with pytest.raises(SchemaError, match=r"no sample ids 'row'; it has \['id', 'image', 'label'\]"):
        DeviceTransform(RandomFlip(), ids="row")(batch())
