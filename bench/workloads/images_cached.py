"""images_cached: 256x256 pictures from each system's best prepared format; random crop 224, flip, normalize, batch 64."""

from forebay.bench.workloads.images import (
    BATCH,
    CONTRACT,
    CROP,
    MEAN,
    STD,
    UNIT,
    Oracle,
    count,
    ids,
    make_data,
    samples,
)

ABOUT = (
    "the same images, decoded and scaled to 256x256 beforehand, from each system's best prepared format: "
    "random crop 224, flip, normalize, float32 NCHW, batch 64, shuffled"
)

__all__ = [
    "ABOUT",
    "BATCH",
    "CONTRACT",
    "CROP",
    "MEAN",
    "STD",
    "UNIT",
    "Oracle",
    "count",
    "ids",
    "make_data",
    "samples",
]
