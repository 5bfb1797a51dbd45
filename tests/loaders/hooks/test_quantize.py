"""Recipes change the layers they should, convert exactly, and refuse up front what this machine cannot do."""

import sys
from typing import Any

import pytest
import torch
from torch import nn

from forebay.formats.errors import SpecError, UnknownNameError
from forebay.loaders.hooks.calibration import Calibration
from forebay.loaders.hooks.float8 import Float8
from forebay.loaders.hooks.lora import Lora, adapted_layers, adapter_state, load_adapter_state
from forebay.loaders.hooks.optimizers8bit import adamw
from forebay.loaders.hooks.pad import PadTo, pad_multiple
from forebay.loaders.hooks.post_training import PostTraining
from forebay.loaders.hooks.qat import Qat
from forebay.loaders.hooks.quantize import Recipe, finalize_model, prepare_model
from forebay.loaders.hooks.schemes import SCHEMES

# torchao and bitsandbytes warn at import and on a CPU: of parts they were not built with and of kernels not installed.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="the message is for machines without CUDA")

CPU_SCHEMES = [name for name, scheme in SCHEMES.items() if not scheme.min_sm]


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Sequential(nn.Linear(128, 64), nn.Tanh()), nn.Linear(64, 10))


def inputs(rows: int = 32) -> torch.Tensor:
    return torch.randn(rows, 64, generator=torch.Generator().manual_seed(1))


def signal_to_noise_db(expected: torch.Tensor, found: torch.Tensor) -> float:
    return float(10 * torch.log10(expected.square().sum() / (expected - found).square().sum()))


def train(model: nn.Module, steps: int, lr: float = 0.01) -> list[float]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    x, y = inputs(), torch.arange(32) % 10
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("scheme", CPU_SCHEMES)
def test_post_training_schemes_stay_close_to_the_float_model(scheme: str) -> None:
    pytest.importorskip("torchao")
    model, recipe = make().eval(), PostTraining(scheme, skip=("3",))
    expected = model(inputs())
    assert prepare_model(model, recipe) is model
    model = finalize_model(model, recipe)
    floor = {"int4": 15.0, "int8": 35.0, "floa": 25.0}[scheme[:4]]
    assert signal_to_noise_db(expected, model(inputs())) > floor
    assert type(model[0].weight.data) is not torch.Tensor and type(model[3].weight.data) is torch.Tensor


def test_static_ranges_come_from_the_calibration_loader() -> None:
    pytest.importorskip("torchao")
    model = make().eval()
    expected = model(inputs())
    loader = [(inputs(), torch.zeros(32))] * 3
    finalize_model(model, PostTraining("int8_static", calibration=Calibration(loader, batches=2)))
    assert signal_to_noise_db(expected, model(inputs())) > 30
    narrow = make().eval()
    finalize_model(narrow, PostTraining("int8_static", calibration=Calibration([inputs() / 100])))
    assert signal_to_noise_db(expected, narrow(inputs())) < 10


def test_calibration_without_batches_is_refused_and_the_model_is_as_before() -> None:
    pytest.importorskip("torchao")
    model = make().train()
    with pytest.raises(SpecError, match="calibration over 0 batches never reached 0, 2.0, 3"):
        finalize_model(model, PostTraining("int8_static", calibration=Calibration([])))
    assert model.training and not model[0]._forward_pre_hooks


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.trainable])
def test_qat_learns_and_its_conversion_is_exact(scheme: str) -> None:
    pytest.importorskip("torchao")
    model, recipe = make(), Qat(scheme, skip=("3",))
    names = list(model.state_dict())
    model = prepare_model(model, recipe)
    assert list(model.state_dict()) == names
    losses = train(model, 25)
    assert losses[-1] < 0.7 * losses[0]
    expected = model.eval()(inputs())
    model = finalize_model(model, recipe)
    assert torch.equal(model(inputs()), expected)


def test_a_quantized_state_dict_goes_through_a_safe_load(tmp_path) -> None:
    pytest.importorskip("torchao")
    model = finalize_model(make().eval(), PostTraining("int8_weights"))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    twin = make().eval()
    twin.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True), assign=True)
    assert torch.equal(twin(inputs()), model(inputs()))


@pytest.mark.parametrize("scaling", ["tensorwise", "rowwise"])
def test_float8_trains_in_emulation_and_gives_plain_layers_back(scaling: Any) -> None:
    pytest.importorskip("torchao")
    model, recipe = make(), Float8(scaling, emulate=True)
    names = list(model.state_dict())
    model = prepare_model(model, recipe)
    assert list(model.state_dict()) == names
    assert "Float8Linear" in type(model[0]).__name__ and type(model[3]) is nn.Linear  # 10 is no multiple of 16
    losses = train(model, 15)
    assert losses[-1] < losses[0]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model = finalize_model(model, recipe)
    assert type(model[0]) is nn.Linear
    torch.testing.assert_close(dict(model.state_dict()), weights, rtol=0, atol=0)


@no_cuda
def test_what_needs_a_gpu_says_so_before_anything_changes() -> None:
    pytest.importorskip("torchao")
    model = make()
    refused = [
        (Float8(), "Float8 needs a CUDA device of compute capability 8.9 or newer"),
        (
            PostTraining("float8_dynamic"),
            r"PostTraining\('float8_dynamic'\) needs a CUDA device of compute capability 8.9",
        ),
        (PostTraining("int4_tensor_core"), r"PostTraining\('int4_tensor_core'\) needs a CUDA device of .* 8.0"),
    ]
    for recipe, message in refused:
        with pytest.raises(SpecError, match=message):
            prepare_model(model, recipe)
    assert all(type(model[i]) is nn.Linear for i in (0, 3))


@pytest.mark.parametrize("base", ["nf4", "int8", "float"])
def test_adapters_learn_on_a_frozen_base(base: Any) -> None:
    pytest.importorskip("peft")
    pytest.importorskip("bitsandbytes")
    model, recipe = make(), Lora(base=base, rank=4, targets=("0", "2"))
    expected = model(inputs())
    model = prepare_model(model, recipe)
    assert list(adapted_layers(model)) == ["0", "2.0"]
    assert all(p.requires_grad == ("lora" in name) for name, p in model.named_parameters())
    assert signal_to_noise_db(expected, model(inputs())) > {"nf4": 12, "int8": 30, "float": 100}[base]
    losses = train(model, 30)
    assert losses[-1] < 0.8 * losses[0]
    trained, state = model(inputs()), adapter_state(model)
    twin = prepare_model(make(), recipe)
    load_adapter_state(twin, state)
    torch.testing.assert_close(twin(inputs()), trained)
    model = finalize_model(model, recipe)
    torch.testing.assert_close(model(inputs()), trained, rtol=1e-4, atol=1e-5)
    if base == "float":
        assert list(model.state_dict()) == list(make().state_dict())
    else:
        assert sum(t.numel() for t in state.values()) == 4 * (64 + 128 + 128 + 64)
        assert "2.0" in adapted_layers(model)


def test_names_are_whole_names_and_wrong_ones_are_refused() -> None:
    pytest.importorskip("peft")
    model = prepare_model(nn.Sequential(make(), nn.Linear(10, 4)), Lora(base="float", targets=("1",)))
    assert list(adapted_layers(model)) == ["1"]
    with pytest.raises(SpecError, match=r"Lora targets \['query'\], but no Linear layer is named so; there are \['0'"):
        prepare_model(make(), Lora(targets=("query",)))
    with pytest.raises(SpecError, match="one Linear layer; put it into nn.Sequential"):
        prepare_model(nn.Linear(4, 4), Lora(base="float"))
    with pytest.raises(SpecError, match="has no adapters"):
        adapter_state(make())
    with pytest.raises(SpecError, match="adapters are of another model or recipe: they differ in 1.lora_A"):
        load_adapter_state(model, {})


def stored_bytes(value: Any) -> int:
    """Of a plain tensor, or of the parts of a torchao subclass, which shows the size that it stands for."""
    if hasattr(value, "__tensor_flatten__"):
        return sum(stored_bytes(getattr(value, name)) for name in value.__tensor_flatten__()[0])
    return value.numel() * value.element_size() if torch.is_tensor(value) else 0


def trained_bytes(optimizer: torch.optim.Optimizer, layer: nn.Linear) -> int:
    for _ in range(2):
        layer(torch.ones(2, 128)).square().mean().backward()
        optimizer.step()
    return sum(map(stored_bytes, optimizer.state[layer.weight].values()))


@pytest.mark.parametrize("backend", ["auto", "bitsandbytes", pytest.param("torchao", marks=pytest.mark.slow)])
def test_eight_bit_optimizers_hold_less_state(backend: Any) -> None:
    pytest.importorskip("bitsandbytes" if backend != "torchao" else "torchao")
    layer = nn.Linear(128, 128)
    optimizer = adamw(layer.parameters(), lr=1e-3, backend=backend)
    assert trained_bytes(optimizer, layer) < 8 * layer.weight.numel() / 2
    assert "AdamW" in type(optimizer).__name__


def test_without_a_library_auto_falls_back_and_a_named_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bitsandbytes", "bitsandbytes.optim", "torchao", "torchao.optim"):
        monkeypatch.setitem(sys.modules, module, None)
    layer = nn.Linear(128, 128)
    optimizer = adamw(layer.parameters(), lr=1e-3)
    assert type(optimizer) is torch.optim.AdamW and optimizer.defaults["fused"]
    with pytest.raises(SpecError, match=r"8-bit AdamW needs bitsandbytes.*forebay\[hooks\]"):
        adamw(layer.parameters(), lr=1e-3, backend="bitsandbytes")
    with pytest.raises(SpecError, match="backend is 'apex', expected auto, bitsandbytes"):
        adamw(layer.parameters(), lr=1e-3, backend="apex")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make_recipe", "error", "message"),
    [
        (lambda: PostTraining("int8"), UnknownNameError, "unknown scheme 'int8' in PostTraining; did you mean int8"),
        (lambda: PostTraining("int4_weights", group_size=48), SpecError, "group_size=48, expected 32, 64, 128 or 256"),
        (lambda: PostTraining("int8_static"), SpecError, r"needs calibration=Calibration\(loader\)"),
        (lambda: PostTraining(calibration=Calibration([])), SpecError, "takes no calibration"),
        (lambda: Calibration([], batches=0), SpecError, "batches=0"),
        (lambda: Qat("int8_matmul"), UnknownNameError, "unknown scheme 'int8_matmul' in Qat"),
        (lambda: Float8("blockwise"), SpecError, "scaling='blockwise'"),  # type: ignore[arg-type]
        (lambda: Lora(base="int3"), SpecError, "base='int3'"),  # type: ignore[arg-type]
        (lambda: Lora(rank=0), SpecError, "rank=0"),
        (lambda: PadTo(0), SpecError, r"multiple=0.*pad_multiple\(recipe\)"),
    ],
)
def test_wrong_settings_are_refused(make_recipe, error, message) -> None:
    with pytest.raises(error, match=message):
        make_recipe()


@pytest.mark.parametrize("recipe", [PostTraining("int4_weights"), Qat(), Float8(emulate=True)])
def test_a_model_without_a_fitting_layer_is_refused_with_its_layers(recipe: Recipe) -> None:
    pytest.importorskip("torchao")
    with pytest.raises(SpecError, match=r"fits no layer of the model; its Linear layers are 0 \(9 -> 9\)"):
        prepare_model(nn.Sequential(nn.Linear(9, 9)), recipe)
    with pytest.raises(SpecError, match=r"skips \['head'\], which the model does not have"):
        type(recipe)(skip=("head",), **({"emulate": True} if isinstance(recipe, Float8) else {})).prepare(make())


def test_finalizing_what_was_not_prepared_is_refused() -> None:
    pytest.importorskip("torchao")
    with pytest.raises(SpecError, match="no fake-quantized layer; call prepare_model"):
        finalize_model(make(), Qat())
    with pytest.raises(SpecError, match="no float8 layer; call prepare_model"):
        finalize_model(make(), Float8(emulate=True))


def test_batches_are_padded_to_what_all_recipes_need() -> None:
    assert pad_multiple() == 1
    assert pad_multiple(Qat(), Float8(emulate=True), 24) == 48
    batch = {
        "input_ids": torch.ones(2, 13, dtype=torch.int64),
        "labels": torch.ones(2, 13, dtype=torch.int64),
        "weights": torch.ones(2),
        "name": "a",
    }
    padded = PadTo(16)(batch)
    assert padded["input_ids"].shape == (2, 16) and padded["input_ids"][0, 13:].tolist() == [0, 0, 0]
    assert padded["labels"][1, 12:].tolist() == [1, -100, -100, -100]
    assert padded["weights"] is batch["weights"] and PadTo(13)(batch)["labels"] is batch["labels"]
