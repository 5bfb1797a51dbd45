"""Fusion of the family "image": neighbouring image transforms become one pass from the file to the training batch.

Crops, resizes and flips compose into one placement, so that a chain of decode, crop, resize, flip and normalize is one
decoding and one kernel call an image, and crop, flip and normalize of decoded images is one kernel call a batch. Where the
plan cuts (a cache may stand there), two stages follow one another and give the same values.
"""

from collections.abc import Sequence

import pyarrow as pa

from forebay.transforms.image_chain import Chain
from forebay.transforms.image_form import image_field
from forebay.transforms.image_stage import ImageStage
from forebay.transforms.stage import Stage
from forebay.transforms.transform import State, Transform


def fuse(
    transforms: Sequence[Transform], schema: pa.Schema, states: Sequence[State | None], ops: Sequence[int]
) -> Stage:
    """One stage for neighbours of the family "image".

    Args:
        transforms: in order, at least one.
        schema: schema before the first.
        states: nothing; no image transform learns.
        ops: their positions in the graph.
    """
    chains: dict[str, Chain] = {}
    after = schema
    for one, op in zip(transforms, ops, strict=True):
        (column,) = one.reads(schema)
        if column not in chains:
            chains[column] = Chain.of(image_field(schema, column, by=type(one).__name__))
        chain = chains[column]
        chain.add(one, op)
        after = after.set(after.get_field_index(column), chain.after)
    return ImageStage(list(chains.values()), schema, after)
