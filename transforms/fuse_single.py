"""An element-wise transform by itself: the same code as in a fused stage, so that both agree to the last bit."""

from typing import Any

import pyarrow as pa

from forebay.transforms.transform import Apply, State


def bind_alone(one: Any, schema: pa.Schema, state: State | None, op: int) -> Apply:
    """What `bind` returns for a transform that has `chains`."""
    from forebay.transforms.fuse_columns import fuse

    run: Apply = fuse([one], schema, [state], [op]).run
    return run
