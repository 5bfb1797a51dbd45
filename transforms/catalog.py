"""The transforms by name: what recipes, plans and `from forebay import transforms as T` look up."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from forebay.formats.errors import SpecError, UnknownNameError
from forebay.transforms.transform import Transform

MODULES: dict[str, str] = {
    "Where": "where",
    "Select": "select",
    "MapBatches": "map_batches",
    "FillNull": "fill_null",
    "DropNulls": "drop_nulls",
    "ClipOutliers": "outliers",
    "DropOutliers": "outliers",
    "Standardize": "scale",
    "MinMaxScale": "scale",
    "RobustScale": "scale",
    "Log1p": "curve_scale",
    "PowerTransform": "curve_scale",
    "QuantileTransform": "curve_scale",
    "Modulo": "modulo",
    "Stack": "stack",
    "Categorize": "categorize",
    "ShiftTokens": "tokens",
    "Cast": "cast",
    "ReplaceValues": "replace_values",
    "ValidateRange": "validate_range",
    "Bucketize": "bucketize",
    "HashCategory": "hash_category",
    "OneHot": "one_hot",
    "NormalizeRows": "normalize_rows",
    "TimestampFeatures": "timestamp_features",
    "TrimText": "text_clean",
    "NormalizeUnicode": "text_clean",
    "FixText": "text_clean",
    "DropDuplicates": "drop_duplicates",
    "FillForward": "fill_forward",
    "GaussianNoise": "noise",
    "MaskFeatures": "noise",
    "SwapNoise": "noise",
    "TargetEncode": "target_encode",
    "MaskTokens": "mask_tokens",
    "DropTokens": "drop_tokens",
    "SpanCorrupt": "span_corrupt",
    "Tokenize": "tokenize",
    "Pack": "pack",
    "Kernel": "kernel",
    "DecodeImage": "image_decode",
    "DropCorruptImages": "image_decode",
    "Resize": "image_geometry",
    "CenterCrop": "image_geometry",
    "HorizontalFlip": "image_geometry",
    "VerticalFlip": "image_geometry",
    "RandomResizedCrop": "image_random_crop",
    "RandomCrop": "image_random_crop",
    "NormalizeImage": "image_normalize",
    "ColorJitter": "image_color",
    "RandomGrayscale": "image_color",
    "GaussianBlur": "image_blur",
    "RandomErasing": "image_erase",
    "RandomRotation": "image_rotate",
    "RandAugment": "randaugment",
    "MixUp": "batch_mix",
    "CutMix": "batch_mix",
    # name of the class -> module of forebay.transforms that defines it; the module is imported on first use
}


def load(name: str, *, where: str = "") -> type[Transform]:
    """The transform class called `name`.

    Raises:
        UnknownNameError: there is none; the message names the nearest ones.
    """
    module = MODULES.get(name)
    if module is None:
        raise UnknownNameError.of("transform", name, MODULES, where=where)
    found: type[Transform] = getattr(importlib.import_module(f"forebay.transforms.{module}"), name)
    return found


def to_json(transform: Transform) -> dict[str, Any]:
    """The spec as plain values, `{"name": ..., **fields}`: what plans, recipes and fingerprints hold."""
    spec: Any = transform
    fields = {f.name: _plain(getattr(spec, f.name)) for f in dataclasses.fields(spec) if f.compare}
    return {"name": type(transform).__name__, **fields}


def from_json(spec: Mapping[str, Any], *, where: str = "") -> Transform:
    """The transform that `to_json` wrote, or that a recipe asks for.

    Raises:
        UnknownNameError: no such transform, or no such key; names the nearest.
        SpecError: a value is refused by the transform itself.
    """
    values = dict(spec)
    cls: Any = load(str(values.pop("name", None)), where=where)
    known = [f.name for f in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise UnknownNameError.of(f"key of {cls.__name__}", key, known, where=where)
    try:
        made: Transform = cls(**values)
    except TypeError as error:
        raise SpecError(f"{cls.__name__}{f' in {where}' if where else ''}: {error}") from error
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
