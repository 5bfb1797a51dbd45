"""Trainer hooks: `from forebay import hooks`. Each name is loaded when it is first used.

Attach and observe: attach, Run, WatchSpec, Context, Hook, BatchCount, count_batch, Meter, ModelFlops, count_flops,
peak_flops, ConsoleSink, JsonlSink, PrometheusSink, TensorBoardSink, BatchContract, Field, check_packing.
Train: Precision, TrainStep, StepSpec, StepResult, LossSum, WindowCounts, adamw, Ema, GcControl, MagnitudePruning,
mask_two_of_four, finalize_pruning, to_semi_structured, checkpoint_blocks, find_batch_size, MemorySnapshot.
Few bits: prepare_model, finalize_model, PostTraining, Calibration, Qat, Float8, Lora, adapter_state,
load_adapter_state, pad_multiple, PadTo.
On the device: DeviceTransform, DevicePrefetch, Widen, RandomFlip, RandomCrop, MixUp.
Save and frameworks: save_checkpoint, load_checkpoint, save_sharded, load_sharded, RngState, lightning_callback,
hf_callback.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.loaders.hooks.attachment import Run, WatchSpec, attach
    from forebay.loaders.hooks.batch_contract import BatchContract, Field
    from forebay.loaders.hooks.batch_size_search import find_batch_size
    from forebay.loaders.hooks.calibration import Calibration
    from forebay.loaders.hooks.checkpoint import RngState, load_checkpoint, save_checkpoint
    from forebay.loaders.hooks.checkpoint_sharded import load_sharded, save_sharded
    from forebay.loaders.hooks.checkpointing import checkpoint_blocks
    from forebay.loaders.hooks.counts import BatchCount, count_batch
    from forebay.loaders.hooks.device_ops import MixUp, RandomCrop, RandomFlip, Widen
    from forebay.loaders.hooks.device_prefetch import DevicePrefetch
    from forebay.loaders.hooks.device_transform import DeviceTransform
    from forebay.loaders.hooks.ema import Ema
    from forebay.loaders.hooks.float8 import Float8
    from forebay.loaders.hooks.flops import ModelFlops, count_flops, peak_flops
    from forebay.loaders.hooks.gc_control import GcControl
    from forebay.loaders.hooks.hf import hf_callback
    from forebay.loaders.hooks.hook import Context, Hook
    from forebay.loaders.hooks.lightning import lightning_callback
    from forebay.loaders.hooks.lora import Lora, adapter_state, load_adapter_state
    from forebay.loaders.hooks.memory_snapshot import MemorySnapshot
    from forebay.loaders.hooks.meter import Meter
    from forebay.loaders.hooks.optimizers8bit import adamw
    from forebay.loaders.hooks.packing_check import check_packing
    from forebay.loaders.hooks.pad import PadTo, pad_multiple
    from forebay.loaders.hooks.post_training import PostTraining
    from forebay.loaders.hooks.precision import Precision
    from forebay.loaders.hooks.prune import MagnitudePruning, finalize_pruning, mask_two_of_four, to_semi_structured
    from forebay.loaders.hooks.qat import Qat
    from forebay.loaders.hooks.quantize import finalize_model, prepare_model
    from forebay.loaders.hooks.sinks import ConsoleSink, JsonlSink, PrometheusSink, TensorBoardSink
    from forebay.loaders.hooks.train_step import LossSum, StepResult, StepSpec, TrainStep
    from forebay.loaders.hooks.windows import WindowCounts
else:
    import importlib

    _HOMES = {
        "attachment": "Run WatchSpec attach",
        "batch_contract": "BatchContract Field",
        "batch_size_search": "find_batch_size",
        "calibration": "Calibration",
        "packing_check": "check_packing",
        "checkpoint": "RngState load_checkpoint save_checkpoint",
        "checkpoint_sharded": "load_sharded save_sharded",
        "checkpointing": "checkpoint_blocks",
        "counts": "BatchCount count_batch",
        "device_ops": "MixUp RandomCrop RandomFlip Widen",
        "device_prefetch": "DevicePrefetch",
        "device_transform": "DeviceTransform",
        "ema": "Ema",
        "float8": "Float8",
        "flops": "ModelFlops count_flops peak_flops",
        "gc_control": "GcControl",
        "hf": "hf_callback",
        "hook": "Context Hook",
        "lightning": "lightning_callback",
        "lora": "Lora adapter_state load_adapter_state",
        "memory_snapshot": "MemorySnapshot",
        "meter": "Meter",
        "optimizers8bit": "adamw",
        "pad": "PadTo pad_multiple",
        "post_training": "PostTraining",
        "precision": "Precision",
        "prune": "MagnitudePruning finalize_pruning mask_two_of_four to_semi_structured",
        "qat": "Qat",
        "quantize": "finalize_model prepare_model",
        "sinks": "ConsoleSink JsonlSink PrometheusSink TensorBoardSink",
        "train_step": "LossSum StepResult StepSpec TrainStep",
        "windows": "WindowCounts",
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

    def __getattr__(name):
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(_HOME_OF))}")
        found = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        globals()[name] = found
        return found

    def __dir__():
        return sorted(_HOME_OF)


__all__ = [
    "BatchContract",
    "BatchCount",
    "Calibration",
    "ConsoleSink",
    "Context",
    "DevicePrefetch",
    "DeviceTransform",
    "Ema",
    "Field",
    "Float8",
    "GcControl",
    "Hook",
    "JsonlSink",
    "Lora",
    "LossSum",
    "MagnitudePruning",
    "MemorySnapshot",
    "Meter",
    "MixUp",
    "ModelFlops",
    "PadTo",
    "PostTraining",
    "Precision",
    "PrometheusSink",
    "Qat",
    "RandomCrop",
    "RandomFlip",
    "RngState",
    "Run",
    "StepResult",
    "StepSpec",
    "TensorBoardSink",
    "TrainStep",
    "WatchSpec",
    "Widen",
    "WindowCounts",
    "adamw",
    "adapter_state",
    "attach",
    "check_packing",
    "checkpoint_blocks",
    "count_batch",
    "count_flops",
    "finalize_model",
    "finalize_pruning",
    "find_batch_size",
    "hf_callback",
    "lightning_callback",
    "load_adapter_state",
    "load_checkpoint",
    "load_sharded",
    "mask_two_of_four",
    "pad_multiple",
    "peak_flops",
    "prepare_model",
    "save_checkpoint",
    "save_sharded",
    "to_semi_structured",
]
